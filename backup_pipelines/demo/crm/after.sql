-- What is added once the rows are in: keys between tables, indexes, triggers, views, policies, grants, sequences.

ALTER TABLE public.users
    ADD CONSTRAINT users_manager_id_fkey FOREIGN KEY (manager_id) REFERENCES public.users (id)
        ON DELETE SET NULL;
-- accounts and contacts point at each other: deferrable, so that a pair can be written in one transaction.
ALTER TABLE public.accounts
    ADD CONSTRAINT accounts_parent_account_id_fkey FOREIGN KEY (parent_account_id)
        REFERENCES public.accounts (id) ON DELETE SET NULL,
    ADD CONSTRAINT accounts_primary_contact_id_fkey FOREIGN KEY (primary_contact_id)
        REFERENCES public.contacts (id) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
    ADD CONSTRAINT accounts_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES public.users (id);
ALTER TABLE public.account_addresses
    ADD CONSTRAINT account_addresses_account_id_fkey FOREIGN KEY (account_id)
        REFERENCES public.accounts (id) ON DELETE CASCADE;
ALTER TABLE public.account_tags
    ADD CONSTRAINT account_tags_account_id_fkey FOREIGN KEY (account_id)
        REFERENCES public.accounts (id) ON DELETE CASCADE,
    ADD CONSTRAINT account_tags_tagged_by_fkey FOREIGN KEY (tagged_by) REFERENCES public.users (id);
ALTER TABLE public.contacts
    ADD CONSTRAINT contacts_account_id_fkey FOREIGN KEY (account_id)
        REFERENCES public.accounts (id) ON DELETE SET NULL;
ALTER TABLE public.contact_emails
    ADD CONSTRAINT contact_emails_contact_id_fkey FOREIGN KEY (contact_id)
        REFERENCES public.contacts (id) ON DELETE CASCADE;
ALTER TABLE public.leads
    ADD CONSTRAINT leads_source_id_fkey FOREIGN KEY (source_id) REFERENCES public.lead_sources (id),
    ADD CONSTRAINT leads_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES public.users (id),
    -- No action: a contact or deal that a lead became cannot be deleted under it.
    ADD CONSTRAINT leads_converted_contact_id_fkey FOREIGN KEY (converted_contact_id)
        REFERENCES public.contacts (id),
    ADD CONSTRAINT leads_converted_deal_id_fkey FOREIGN KEY (converted_deal_id)
        REFERENCES public.deals (id) ON DELETE SET NULL;
ALTER TABLE public.lead_activities
    ADD CONSTRAINT lead_activities_lead_id_fkey FOREIGN KEY (lead_id)
        REFERENCES public.leads (id) ON DELETE CASCADE,
    ADD CONSTRAINT lead_activities_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users (id);
ALTER TABLE public.lead_imports_log
    ADD CONSTRAINT lead_imports_log_imported_by_fkey FOREIGN KEY (imported_by)
        REFERENCES public.users (id);
ALTER TABLE public.deals
    ADD CONSTRAINT deals_account_id_fkey FOREIGN KEY (account_id) REFERENCES public.accounts (id),
    ADD CONSTRAINT deals_contact_id_fkey FOREIGN KEY (contact_id)
        REFERENCES public.contacts (id) ON DELETE SET NULL,
    ADD CONSTRAINT deals_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES public.users (id),
    ADD CONSTRAINT deals_stage_fkey FOREIGN KEY (stage) REFERENCES public.deal_stages (stage);
ALTER TABLE public.deal_products
    ADD CONSTRAINT deal_products_deal_id_fkey FOREIGN KEY (deal_id)
        REFERENCES public.deals (id) ON DELETE CASCADE,
    ADD CONSTRAINT deal_products_product_id_fkey FOREIGN KEY (product_id)
        REFERENCES public.products (id) ON DELETE RESTRICT;
ALTER TABLE public.deal_stage_history
    ADD CONSTRAINT deal_stage_history_deal_id_fkey FOREIGN KEY (deal_id)
        REFERENCES public.deals (id) ON DELETE CASCADE,
    ADD CONSTRAINT deal_stage_history_stage_fkey FOREIGN KEY (stage)
        REFERENCES public.deal_stages (stage),
    ADD CONSTRAINT deal_stage_history_changed_by_fkey FOREIGN KEY (changed_by)
        REFERENCES public.users (id),
    -- A deal is in one stage at a time. Equality on a btree needs no extension.
    ADD CONSTRAINT deal_stage_history_one_current EXCLUDE USING btree (deal_id WITH =)
        WHERE (left_at IS NULL) DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE public.meetings
    ADD CONSTRAINT meetings_account_id_fkey FOREIGN KEY (account_id)
        REFERENCES public.accounts (id) ON DELETE CASCADE,
    ADD CONSTRAINT meetings_deal_id_fkey FOREIGN KEY (deal_id)
        REFERENCES public.deals (id) ON DELETE SET NULL,
    ADD CONSTRAINT meetings_organizer_id_fkey FOREIGN KEY (organizer_id)
        REFERENCES public.users (id);
ALTER TABLE public.meeting_attendees
    ADD CONSTRAINT meeting_attendees_meeting_id_fkey FOREIGN KEY (meeting_id)
        REFERENCES public.meetings (id) ON DELETE CASCADE,
    ADD CONSTRAINT meeting_attendees_user_id_fkey FOREIGN KEY (user_id)
        REFERENCES public.users (id) ON DELETE CASCADE,
    ADD CONSTRAINT meeting_attendees_contact_id_fkey FOREIGN KEY (contact_id)
        REFERENCES public.contacts (id) ON DELETE CASCADE;
ALTER TABLE public.meeting_notes
    ADD CONSTRAINT meeting_notes_meeting_id_fkey FOREIGN KEY (meeting_id)
        REFERENCES public.meetings (id) ON DELETE CASCADE,
    ADD CONSTRAINT meeting_notes_author_id_fkey FOREIGN KEY (author_id) REFERENCES public.users (id);
ALTER TABLE public.tasks
    ADD CONSTRAINT tasks_parent_task_id_fkey FOREIGN KEY (parent_task_id)
        REFERENCES public.tasks (id) ON DELETE CASCADE,
    ADD CONSTRAINT tasks_assignee_id_fkey FOREIGN KEY (assignee_id) REFERENCES public.users (id),
    ADD CONSTRAINT tasks_account_id_fkey FOREIGN KEY (account_id)
        REFERENCES public.accounts (id) ON DELETE CASCADE,
    ADD CONSTRAINT tasks_contact_id_fkey FOREIGN KEY (contact_id)
        REFERENCES public.contacts (id) ON DELETE SET NULL,
    ADD CONSTRAINT tasks_deal_id_fkey FOREIGN KEY (deal_id)
        REFERENCES public.deals (id) ON DELETE SET NULL,
    ADD CONSTRAINT tasks_meeting_id_fkey FOREIGN KEY (meeting_id)
        REFERENCES public.meetings (id) ON DELETE SET NULL;
ALTER TABLE public.task_comments
    ADD CONSTRAINT task_comments_task_id_fkey FOREIGN KEY (task_id)
        REFERENCES public.tasks (id) ON DELETE CASCADE,
    ADD CONSTRAINT task_comments_author_id_fkey FOREIGN KEY (author_id) REFERENCES public.users (id);
ALTER TABLE public.task_attachments
    ADD CONSTRAINT task_attachments_task_id_fkey FOREIGN KEY (task_id)
        REFERENCES public.tasks (id) ON DELETE CASCADE,
    ADD CONSTRAINT task_attachments_uploaded_by_fkey FOREIGN KEY (uploaded_by)
        REFERENCES public.users (id);

CREATE UNIQUE INDEX users_email_key ON public.users (lower(email));
CREATE INDEX accounts_name_idx ON public.accounts (lower(name) text_pattern_ops);
CREATE INDEX accounts_parent_account_id_idx ON public.accounts (parent_account_id);
CREATE INDEX accounts_primary_contact_id_idx ON public.accounts (primary_contact_id);
CREATE INDEX accounts_custom_fields_idx ON public.accounts USING gin (custom_fields jsonb_path_ops);
CREATE UNIQUE INDEX contacts_email_key ON public.contacts (lower(email));
CREATE INDEX contacts_account_id_idx ON public.contacts (account_id);
CREATE INDEX contacts_interests_idx ON public.contacts USING gin (interests);
CREATE INDEX contact_emails_contact_id_idx ON public.contact_emails (contact_id);
CREATE UNIQUE INDEX contact_emails_one_primary ON public.contact_emails (contact_id) WHERE is_primary;
CREATE INDEX leads_owner_status_idx ON public.leads (owner_id, status) INCLUDE (score);
CREATE INDEX leads_converted_contact_id_idx ON public.leads (converted_contact_id);
CREATE INDEX leads_converted_deal_id_idx ON public.leads (converted_deal_id);
CREATE INDEX lead_activities_lead_id_idx ON public.lead_activities (lead_id, occurred_at DESC);
CREATE INDEX lead_imports_log_imported_at_idx ON public.lead_imports_log USING brin (imported_at);
CREATE INDEX deals_account_id_idx ON public.deals (account_id);
CREATE INDEX deals_contact_id_idx ON public.deals (contact_id);
CREATE INDEX deals_open_idx ON public.deals (owner_id, expected_close) WHERE closed_at IS NULL;
CREATE INDEX deal_products_product_id_idx ON public.deal_products (product_id);
CREATE INDEX deal_stage_history_deal_id_idx ON public.deal_stage_history (deal_id, entered_at);
CREATE INDEX meetings_account_id_idx ON public.meetings (account_id);
CREATE INDEX meetings_deal_id_idx ON public.meetings (deal_id);
CREATE INDEX meetings_starts_at_idx ON public.meetings (starts_at);
-- NULLs are distinct, so that each index holds only the kind of person it is about.
CREATE UNIQUE INDEX meeting_attendees_user_key ON public.meeting_attendees (meeting_id, user_id);
CREATE UNIQUE INDEX meeting_attendees_contact_key ON public.meeting_attendees (meeting_id, contact_id);
CREATE INDEX meeting_attendees_contact_id_idx ON public.meeting_attendees (contact_id);
CREATE INDEX meeting_notes_meeting_id_idx ON public.meeting_notes (meeting_id);
CREATE INDEX meeting_notes_search_idx ON public.meeting_notes USING gin (to_tsvector('simple', body));
CREATE INDEX tasks_parent_task_id_idx ON public.tasks (parent_task_id);
CREATE INDEX tasks_account_id_idx ON public.tasks (account_id);
CREATE INDEX tasks_contact_id_idx ON public.tasks (contact_id);
CREATE INDEX tasks_deal_id_idx ON public.tasks (deal_id);
CREATE INDEX tasks_meeting_id_idx ON public.tasks (meeting_id);
CREATE INDEX tasks_due_idx ON public.tasks (assignee_id, due_on) WHERE completed_at IS NULL;
CREATE INDEX task_comments_task_id_idx ON public.task_comments (task_id);
CREATE INDEX task_attachments_task_id_idx ON public.task_attachments (task_id);

CREATE FUNCTION public.touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := pg_catalog.now();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION public.touch_updated_at() IS 'Keeps updated_at honest on every update.';

CREATE FUNCTION public.current_crm_user() RETURNS uuid LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
    RETURN nullif(current_setting('crm.user_id', true), '')::uuid;
COMMENT ON FUNCTION public.current_crm_user() IS 'Who the application says it acts for; NULL outside it.';

-- The history is written with the owner's rights: crm_app may read it, never write it.
CREATE FUNCTION public.record_deal_stage() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        UPDATE public.deal_stage_history SET left_at = greatest(now(), entered_at)
        WHERE deal_id = NEW.id AND left_at IS NULL;
    END IF;
    INSERT INTO public.deal_stage_history (deal_id, stage, entered_at, changed_by)
    VALUES (NEW.id, NEW.stage, now(), public.current_crm_user());
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION public.record_deal_stage() IS 'Appends every change of a deal''s stage to its history.';

CREATE TRIGGER accounts_touch BEFORE UPDATE ON public.accounts
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER contacts_touch BEFORE UPDATE ON public.contacts
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER leads_touch BEFORE UPDATE ON public.leads
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER deals_touch BEFORE UPDATE ON public.deals
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER meetings_touch BEFORE UPDATE ON public.meetings
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER meeting_notes_touch BEFORE UPDATE ON public.meeting_notes
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER tasks_touch BEFORE UPDATE ON public.tasks
    FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at();
CREATE TRIGGER deals_first_stage AFTER INSERT ON public.deals
    FOR EACH ROW EXECUTE FUNCTION public.record_deal_stage();
CREATE TRIGGER deals_stage_changed AFTER UPDATE OF stage ON public.deals
    FOR EACH ROW WHEN (OLD.stage IS DISTINCT FROM NEW.stage)
    EXECUTE FUNCTION public.record_deal_stage();

CREATE VIEW public.open_deals WITH (security_invoker = true) AS
    SELECT d.id, d.name, d.stage, d.amount, d.currency, d.amount_weighted, d.expected_close, d.owner_id,
           a.name AS account_name, c.full_name AS contact_name
    FROM public.deals d
    JOIN public.accounts a ON a.id = d.account_id
    LEFT JOIN public.contacts c ON c.id = d.contact_id
    WHERE d.closed_at IS NULL;

CREATE VIEW public.pipeline_by_owner WITH (security_invoker = true) AS
    SELECT u.id AS owner_id, u.full_name, u.team, count(*) AS open_deals,
           sum(o.amount) AS amount, sum(o.amount_weighted) AS amount_weighted
    FROM public.open_deals o
    JOIN public.users u ON u.id = o.owner_id
    GROUP BY u.id, u.full_name, u.team;

CREATE VIEW public.overdue_tasks WITH (security_invoker = true) AS
    SELECT t.id, t.title, t.priority, t.due_on, u.full_name AS assignee, a.name AS account_name
    FROM public.tasks t
    LEFT JOIN public.users u ON u.id = t.assignee_id
    LEFT JOIN public.accounts a ON a.id = t.account_id
    WHERE t.completed_at IS NULL AND t.status <> 'cancelled' AND t.due_on < current_date;

CREATE MATERIALIZED VIEW public.pipeline_by_stage_month AS
    SELECT h.stage, date_trunc('month', h.entered_at, 'UTC')::date AS month,
           count(*) AS deals_entered, sum(d.amount) AS amount
    FROM public.deal_stage_history h
    JOIN public.deals d ON d.id = h.deal_id
    GROUP BY 1, 2;
CREATE UNIQUE INDEX pipeline_by_stage_month_key ON public.pipeline_by_stage_month (stage, month);

-- Enabled, not forced: the owner sees every row, crm_app what the policies let it see, anyone else none.
ALTER TABLE public.leads ENABLE ROW LEVEL SECURITY;
CREATE POLICY leads_own_or_unassigned ON public.leads TO crm_app
    USING (owner_id IS NULL OR owner_id = public.current_crm_user())
    WITH CHECK (owner_id IS NULL OR owner_id = public.current_crm_user());
ALTER TABLE public.meeting_notes ENABLE ROW LEVEL SECURITY;
CREATE POLICY meeting_notes_read ON public.meeting_notes FOR SELECT TO crm_app
    USING (NOT is_private OR author_id = public.current_crm_user());
CREATE POLICY meeting_notes_write ON public.meeting_notes FOR INSERT TO crm_app
    WITH CHECK (author_id = public.current_crm_user());
ALTER TABLE public.contacts ENABLE ROW LEVEL SECURITY;
CREATE POLICY contacts_all ON public.contacts TO crm_app USING (true);
CREATE POLICY contacts_keep_blocked ON public.contacts AS RESTRICTIVE FOR DELETE TO crm_app
    USING (NOT do_not_contact);

GRANT USAGE ON SCHEMA public TO crm_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    public.accounts, public.account_addresses, public.account_tags, public.contacts,
    public.contact_emails, public.leads, public.lead_activities, public.deals, public.deal_products,
    public.meetings, public.meeting_attendees, public.meeting_notes, public.tasks,
    public.task_comments, public.task_attachments TO crm_app;
GRANT SELECT ON public.lead_sources, public.deal_stages, public.products, public.deal_stage_history,
    public.open_deals, public.pipeline_by_owner, public.overdue_tasks,
    public.pipeline_by_stage_month TO crm_app;
GRANT SELECT (id, username, full_name, email, job_title, team, is_active) ON public.users TO crm_app;
GRANT INSERT ON public.lead_imports_log TO crm_app;
GRANT USAGE ON SEQUENCE public.task_comments_id_seq TO crm_app;
REVOKE EXECUTE ON FUNCTION public.record_deal_stage() FROM PUBLIC;

COMMENT ON TABLE public.users IS 'The sales people who use the CRM.';
COMMENT ON COLUMN public.users.preferences IS 'What the user chose in the settings: theme, locale, alerts.';
COMMENT ON TABLE public.accounts IS 'Companies: those that buy, those that might, those that used to.';
COMMENT ON COLUMN public.accounts.parent_account_id IS 'The company that owns this one, if it is ours too.';
COMMENT ON COLUMN public.accounts.primary_contact_id IS 'Whom to call first. The contact points back here.';
COMMENT ON TABLE public.contacts IS 'People. Without an account they are private customers.';
COMMENT ON COLUMN public.contacts.full_name IS 'Computed: "first last". Not written by anyone.';
COMMENT ON TABLE public.contact_emails IS 'Every address of a contact; at most one is the primary one.';
COMMENT ON TABLE public.leads IS 'People who showed interest, before they are contacts.';
COMMENT ON COLUMN public.leads.score IS 'Of the scoring model, 0 to 100, as many digits as it has.';
COMMENT ON TABLE public.lead_imports_log IS 'One row per line of an imported file. Append only, no key.';
COMMENT ON TABLE public.deals IS 'What we try to sell to an account, and how far it is.';
COMMENT ON COLUMN public.deals.amount_weighted IS 'Computed: amount times probability.';
COMMENT ON COLUMN public.deals.exchange_rate IS 'Units of EUR per unit of currency on the day of the offer.';
COMMENT ON TABLE public.deal_stage_history IS 'Written by a trigger on deals; one open row per deal.';
COMMENT ON TABLE public.meetings IS 'Appointments with an account; it''s the sales people who organise them.';
COMMENT ON TABLE public.meeting_notes IS 'What was said. Private notes are for their author alone.';
COMMENT ON TABLE public.tasks IS 'Action items. A task may have sub-tasks.';
COMMENT ON COLUMN public.tasks.estimate IS 'How much work it is, not when it is due.';
COMMENT ON VIEW public.open_deals IS 'Deals that are neither won nor lost.';
COMMENT ON MATERIALIZED VIEW public.pipeline_by_stage_month IS 'Refreshed by the application every night.';
COMMENT ON TYPE public.deal_stage IS 'In the order a deal moves through them.';
COMMENT ON DOMAIN public.email_address IS 'Something with one @ and a dot behind it.';
COMMENT ON CONSTRAINT deal_stages_position_unique ON public.deal_stages IS
    'Deferrable, so that two stages can swap places.';
COMMENT ON POLICY leads_own_or_unassigned ON public.leads IS 'Your own leads and those nobody has taken.';

-- The load wrote the keys itself, so that the sequences behind them still stand at the start.
DO $$
DECLARE
    key record;
BEGIN
    FOR key IN
        SELECT a.attrelid::regclass AS table_name, a.attname AS column_name,
               pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) AS sequence_name
        FROM pg_catalog.pg_attribute a
        JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
          AND NOT a.attisdropped
          AND pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) IS NOT NULL
    LOOP
        EXECUTE format(
            'SELECT pg_catalog.setval(%L, coalesce(max(%I), 0) + 1, false) FROM %s',
            key.sequence_name, key.column_name, key.table_name);
    END LOOP;
END
$$;
