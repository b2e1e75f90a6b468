"""What the tests of masked copies share: the rules for the sample CRM, and keys."""

from typing import Any

KEY, OTHER_KEY = "a key of the tests only", "another key of the tests"

_USERS = (
    *("users.manager_id", "accounts.owner_id", "account_tags.tagged_by", "leads.owner_id"),
    *("lead_activities.user_id", "lead_imports_log.imported_by", "deals.owner_id"),
    *("deal_stage_history.changed_by", "meetings.organizer_id", "meeting_attendees.user_id"),
    *("meeting_notes.author_id", "tasks.assignee_id", "task_comments.author_id"),
    *("task_attachments.uploaded_by", "users.id"),
)
_CONTACTS = (
    *("contacts.id", "accounts.primary_contact_id", "contact_emails.contact_id"),
    *("leads.converted_contact_id", "deals.contact_id", "meeting_attendees.contact_id"),
    "tasks.contact_id",
)


def crm_rules() -> dict[str, dict[str, Any]]:
    """Rules for the sample CRM: people are masked wherever they are, and what they wrote."""
    rules: dict[str, dict[str, Any]] = {
        "users": {
            "username": "fake",
            "full_name": "fake",
            "email": "fake",
            "last_login_ip": "fake",
            "preferences": {"fake": "empty"},
            "hired_on": "fake",
        },
        "accounts": {
            "name": {"fake": "company"},
            "website": "fake",
            "phone": "fake",
            "description": None,
            "annual_revenue": "fake",
            "custom_fields": "null",
        },
        "account_addresses": {
            "id": "hash",
            "street": "fake",
            "city": "fake",
            "region": None,
            "postal_code": "fake",
            "location": None,
        },
        "contacts": {
            "first_name": "fake",
            "last_name": "fake",
            "email": "fake",
            "phone": "fake",
            "mobile": "fake",
            "birthday": "fake",
            "social": {"fake": "empty"},
            "interests": {"fake": "empty"},
        },
        "contact_emails": {"address": {"fake": "email"}},
        "leads": {
            "first_name": "fake",
            "last_name": "fake",
            "company": "fake",
            "email": "fake",
            "phone": "fake",
            "signup_ip": "fake",
            "utm": {"fake": "empty"},
            "message": {"fake": "text"},
        },
        "lead_activities": {"summary": "hash"},
        "lead_imports_log": {"detail": None, "file_name": "hash"},
        "deals": {"name": {"fake": "text"}},
        "meetings": {"subject": "fake", "dial_in": "null", "location": "null"},
        "meeting_notes": {"body": {"fake": "text"}},
        "tasks": {"title": "fake", "description": None},
        "task_comments": {"body": {"fake": "text"}},
        "task_attachments": {"file_name": "hash"},
    }
    for place in (*_USERS, *_CONTACTS):
        table, column = place.split(".")
        rules.setdefault(table, {})[column] = "hash"
    return rules
