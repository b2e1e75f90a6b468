# ruff: noqa: RUF001 - Greek letters look like Latin ones; that is their nature.
"""The phrases the demo is written with. A brace is a slot: {name}, {product}, {amount} or {day}."""

NOTES = (
    "{name} likes {product}, but wants to see it with their own data first.",
    "Budget is approved up to {amount}; anything above goes to the board.",
    "Next call on {day}, {name} brings the head of IT.",
    "They compare us with two competitors; price is not the point, support is.",
    "Asked for references from the same industry.",
    'Quote from {name}: "If the migration takes a weekend, we have a deal."',
    "Decision will be made by {day}.",
    "Current contract ends in spring, notice period three months.",
    "{name} was not there; spoke with the assistant instead.",
    "Wants {product} for the whole group, not only for the Hamburg site.",
    "Send the offer again: the first one went to spam.",
    "Legal has questions about data processing, see their e-mail from {day}.",
    "Discount of 10 % promised if they sign before the end of the quarter.",
    "They're happy with the trial, adoption in the team is above 80 %.",
    "Open points:\n- single sign-on\n- export to Excel\n- who pays for the training",
    "Follow up on {day}; until then {name} collects the requirements.",
    'The "must have" list got longer: {product}, audit log, 24/7 hotline.',
    "No budget this year. Call again in January.",
    "{name} moves to another department; the successor isn't known yet.",
    "Volume would be about {amount} a year, in two instalments.",
    "Good atmosphere, a bit short on time.",
    "Technical evaluation passed, purchasing takes over.",
    "Kunde wünscht ein Angebot über {amount}, gültig bis {day}.",
    "Rückfrage zur Schnittstelle: läuft {product} auch ohne Cloud?",
    "Le client préfère être rappelé {day} ; il a déjà reçu la démo de {product}.",
    "Pani {name} prosi o fakturę pro forma na {amount}.",
    "El presupuesto está aprobado, ¿cuándo empezamos?",
    "次回の打ち合わせは{day}、{name}様が参加予定。",
    "Η {name} ζητά νέα προσφορά για {product}.",
    "Great news, they said yes 🎉",
)

LEAD_MESSAGES = (
    "Hello, I'd like to know more about {product}. Could you call me on {day}?",
    "We are a team of 25 and look for something like {product}.",
    "Please send me a price list, thanks!",
    "Saw your booth at the fair, very impressive.\n\nKind regards\n{name}",
    'Do you offer "{product}" for non-profits, too?',
    "Guten Tag,\nbitte um Rückruf wegen {product}.\nMit freundlichen Grüßen, {name}",
    "Bonjour, pouvez-vous m'envoyer une démonstration ? Merci d'avance.",
    "資料請求をお願いします。",
    "Our current export sits in C:\\Users\\sales\\export.csv,\tcan you read that?",
    "test",
    "",
)

ACTIVITIES = {
    "call": (
        "Called {name}, wants to think about it",
        "Voicemail",
        "Talked about {product}",
        "No answer",
    ),
    "email": (
        "Sent brochure for {product}",
        'Reply: "not now, thanks"',
        "Sent price list, {amount}",
    ),
    "website_visit": ("/pricing", "/products?q=crm&page=2", "/blog/10-tips", "/contact"),
    "form": ("Contact form", "Newsletter sign-up", "Webinar registration, {day}", "White paper"),
    "note": ("Knows us from the fair", "Speaks German & French", "Don't call before 10:00", ""),
}

TASK_TITLES = (
    "Send offer for {product}",
    "Call {name} back",
    "Prepare demo of {product}",
    "Check credit limit ({amount})",
    "Update forecast before {day}",
    "Ask legal about the NDA",
    "Invite {name} to the user day",
    "Write minutes",
    "Clarify who signs",
    "Schedule kick-off, {day}",
    "Collect references",
    "Renew contract",
    "Angebot nachfassen: {name}",
    "Relancer le client « {name} »",
)

SUBTASKS = (
    "Draft", "Internal review", "Get approval", "Send to customer", "File the signed copy",
    "Book the room",
)  # fmt: skip

TASK_COMMENTS = (
    "Done, see attachment.",
    "Waiting for {name}.",
    "Can someone else take this? I'm away until {day}.",
    "Moved to {day}.",
    "+1",
    "They don't answer the phone, sent an e-mail.",
    "Price is {amount}, please double-check.",
    'Changed the title, "call" was misleading',
    "erledigt ✔",
    "Split in two:\n1) contract\n2) invoice",
)

MEETING_SUBJECTS = (
    "Introduction", "Demo: {product}", "Requirements workshop", "Price negotiation",
    "Contract review", "Quarterly review", "Kick-off", "Lunch with {name}", "Status call",
    "Technical deep dive, {product}",
)  # fmt: skip

AGENDA_ITEMS = (
    "Round of introductions", "Where we stand", "Requirements", "Demo", "Prices, discounts",
    "Data protection", "Roadmap", "Questions", 'Decision: "go" or "no go"', "Next steps",
    "Time plan",
)  # fmt: skip

NEXT_STEPS = (
    "Send revised offer", "Wait for signature", "Demo for the works council", "Call on {day}",
    "Clarify scope with {name}", "Get discount approved", "",
)  # fmt: skip

LOST_REASONS = (
    "Price", "Went with a competitor", "No budget", "No decision", "Missing feature", "Timing",
    "Bought by another company", "Couldn't reach them any more",
)  # fmt: skip

IMPORT_OUTCOMES = (
    ("inserted", None),
    ("inserted", ""),
    ("updated", "matched by e-mail"),
    ("skipped", "duplicate of an earlier line"),
    ("rejected", 'column "email": not an e-mail address'),
    ("rejected", "line has 9 columns, expected 8"),
)

JOB_TITLES = (
    "Chief Executive Officer", "Chief Financial Officer", "Chief Information Officer",
    "Head of Purchasing", "Purchasing Manager", "Head of Sales", "Sales Operations Manager",
    "Marketing Manager", "IT Manager", "System Administrator", "Data Protection Officer",
    "Office Manager", "Project Manager", "Controller", "Production Manager", "Head of Logistics",
    "Human Resources Manager", "Assistant to the Board", "Einkaufsleiter", "Geschäftsführerin",
    "Directeur général", "Responsable des achats", "Kierownik działu IT",
)  # fmt: skip

INDUSTRIES = (
    "Machinery", "Logistics", "Retail", "Health care", "Software", "Construction",
    "Food & beverages", "Energy", "Education", "Media, print", "Finance", "Chemicals",
    "Hospitality",
)  # fmt: skip

COMPANY_WORDS = (
    "Logistics", "Systems", "Foods", "Engineering", "Consulting", "Textiles", "Robotics",
    "Energy", "Pharma", "Media", "Motors", "Instruments", "Packaging", "Software", "Metals",
    "Furniture", "Travel", "Optics", "Plastics", "Timber", "Marine", "Labs", "Print", "Networks",
    "Ceramics", "Seeds", "Tools", "Capital",
)  # fmt: skip

ACCOUNT_TAGS = (
    "key account", "reference", "newsletter", "fair 2024", "fair 2025", "slow payer", "needs NDA",
    "public sector", "self-hosted", "reseller", "churn risk", "Großkunde", "à relancer", "VIP ⭐",
)  # fmt: skip

INTERESTS = (
    "pricing", "roadmap", "webinars", "beta tests", "security", "reporting", "events, fairs",
    "training", 'the "new" API', "golf",
)  # fmt: skip

LEAD_TAGS = (
    "hot",
    "cold",
    "fair",
    "webinar",
    "referral",
    "follow-up",
    "student",
    "wants demo",
    "a,b test",
)

PRODUCT_FAMILIES = (
    ("CRM", "CRM Workplace", 4_900),
    ("MKT", "Marketing Suite", 12_900),
    ("ANA", "Analytics", 29_000),
    ("INT", "Integration Gateway", 148_000),
    ("SUP", "Premium Support", 79_500),
    ("TRN", "Training Day", 119_000),
    ("CON", "Consulting Day", 145_000),
    ("DEV", 'Terminal 10"', 64_900),
    ("ARC", "Archive Server", 1_890_000),
    ("PRJ", "Roll-out Project", 4_750_000),
)
PRODUCT_EDITIONS = (
    "Basic",
    "Standard",
    "Professional",
    "Enterprise",
    "Public Sector",
    "Jubiläumsedition",
)
