"""The columns of every table in the order its rows have. PostgreSQL computes the generated ones."""


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


COLUMNS: dict[str, tuple[str, ...]] = {
    "users": _names(
        "id username full_name email job_title team manager_id is_active timezone work_starts"
        " work_ends last_login_ip last_login_at preferences hired_on"
    ),
    "lead_sources": _names("id name is_paid cost_per_lead"),
    "deal_stages": _names("stage label position default_probability expected_duration"),
    "products": _names("id sku name unit_price attributes is_active"),
    "accounts": _names(
        "id name tier industry website phone country_code employees annual_revenue currency"
        " parent_account_id primary_contact_id owner_id description custom_fields created_at"
        " updated_at"
    ),
    "account_addresses": _names(
        "id account_id kind street city region postal_code country_code location valid_from"
    ),
    "account_tags": _names("account_id tag tagged_by tagged_at"),
    "contacts": _names(
        "id account_id first_name last_name email phone mobile job_title birthday language"
        " interests social do_not_contact consent_at created_at updated_at"
    ),
    "contact_emails": _names("id contact_id address kind is_primary verified_at bounced_at"),
    "leads": _names(
        "id source_id status first_name last_name company email phone score budget tags"
        " signup_ip utm message owner_id converted_contact_id converted_deal_id converted_at"
        " created_at updated_at"
    ),
    "lead_activities": _names("id lead_id kind user_id summary duration occurred_at"),
    "lead_imports_log": _names("imported_at file_name line_number outcome detail imported_by"),
    "deals": _names(
        "id name account_id contact_id owner_id stage amount currency exchange_rate probability"
        " expected_close closed_at lost_reason next_step created_at updated_at"
    ),
    "deal_products": _names("deal_id product_id quantity unit_price discount_percent"),
    "deal_stage_history": _names("id deal_id stage entered_at left_at changed_by"),
    "meetings": _names(
        "id subject kind account_id deal_id organizer_id starts_at duration location agenda"
        " dial_in cancelled created_at updated_at"
    ),
    "meeting_attendees": _names("id meeting_id user_id contact_id response responded_at"),
    "meeting_notes": _names("id meeting_id author_id body is_private created_at updated_at"),
    "tasks": _names(
        "id parent_task_id title description priority status assignee_id account_id contact_id"
        " deal_id meeting_id due_on remind_at estimate completed_at created_at updated_at"
    ),
    "task_comments": _names("id task_id author_id body created_at"),
    "task_attachments": _names(
        "id task_id file_name content_type content size_bytes uploaded_by uploaded_at"
    ),
}
