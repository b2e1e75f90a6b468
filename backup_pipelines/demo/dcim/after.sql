-- AssetDex after the load, run as dcim_owner: whatever would slow the load down or fire during it.

-- Sequences, which COPY leaves where they were.
SELECT setval('auth.refresh_tokens_id_seq', (SELECT max(id) FROM auth.refresh_tokens));
SELECT setval('public.enum_colors_id_seq', (SELECT max(id) FROM public.enum_colors));
SELECT setval('public.filter_defaults_id_seq', (SELECT max(id) FROM public.filter_defaults));
SELECT setval('public.activity_logs_id_seq', (SELECT max(id) FROM public.activity_logs));

-- What people have added to the enums since, so that labels are not sorted as they were created.
-- Before PostgreSQL 17 no row of the same transaction can have such a label, so none has.
ALTER TYPE public.lifecycle_status ADD VALUE 'Quarantined' BEFORE 'Inactive';
ALTER TYPE public.environment_type ADD VALUE 'Staging' AFTER 'Production';
ALTER TYPE public.operating_system ADD VALUE 'Debian 13' AFTER 'Debian 12';
ALTER TYPE public.allocation_type ADD VALUE 'Backup';

-- Foreign keys
ALTER TABLE auth.sessions
    ADD FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE;
ALTER TABLE auth.refresh_tokens
    ADD FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE;
ALTER TABLE public.profiles
    ADD FOREIGN KEY (id) REFERENCES auth.users (id) ON DELETE CASCADE;
ALTER TABLE public.user_roles
    ADD FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE,
    ADD FOREIGN KEY (assigned_by) REFERENCES auth.users (id) ON DELETE SET NULL;

ALTER TABLE public.device_cpu_specs
    ADD FOREIGN KEY (device_id) REFERENCES public.device_glossary (id) ON DELETE CASCADE;
ALTER TABLE public.device_memory_specs
    ADD FOREIGN KEY (device_id) REFERENCES public.device_glossary (id) ON DELETE CASCADE;
ALTER TABLE public.device_storage_specs
    ADD FOREIGN KEY (device_id) REFERENCES public.device_glossary (id) ON DELETE CASCADE;
ALTER TABLE public.device_network_specs
    ADD FOREIGN KEY (device_id) REFERENCES public.device_glossary (id) ON DELETE CASCADE;
ALTER TABLE public.device_power_specs
    ADD FOREIGN KEY (device_id) REFERENCES public.device_glossary (id) ON DELETE CASCADE;
ALTER TABLE public.device_management_specs
    ADD FOREIGN KEY (device_id) REFERENCES public.device_glossary (id) ON DELETE CASCADE;
ALTER TABLE public.device_compatibility
    ADD FOREIGN KEY (device_id) REFERENCES public.device_glossary (id) ON DELETE CASCADE,
    ADD FOREIGN KEY (compatible_with_id) REFERENCES public.device_glossary (id) ON DELETE CASCADE;

ALTER TABLE public.servers
    ADD FOREIGN KEY (glossary_id) REFERENCES public.device_glossary (id) ON DELETE SET NULL,
    -- Racks are known by name in the application, and renamed now and then.
    ADD FOREIGN KEY (rack) REFERENCES public.rack_metadata (rack_name) ON UPDATE CASCADE,
    -- A replica is often entered together with its primary, in either order.
    ADD FOREIGN KEY (primary_server_id) REFERENCES public.servers (id)
        ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
    ADD FOREIGN KEY (created_by) REFERENCES public.profiles (id) ON DELETE SET NULL;
ALTER TABLE public.power_specs
    ADD FOREIGN KEY (server_id) REFERENCES public.servers (id) ON DELETE CASCADE;
ALTER TABLE public.psu_specs
    ADD FOREIGN KEY (server_id) REFERENCES public.servers (id) ON DELETE CASCADE;
ALTER TABLE public.property_definitions
    ADD FOREIGN KEY (created_by) REFERENCES public.profiles (id) ON DELETE SET NULL;
ALTER TABLE public.user_filter_preferences
    ADD FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE,
    ADD FOREIGN KEY (filter_key) REFERENCES public.filter_defaults (filter_key)
        ON UPDATE CASCADE ON DELETE CASCADE;

ALTER TABLE public.dashboard_widget_configs
    ADD FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE CASCADE;
ALTER TABLE public.list_widget_configs
    ADD FOREIGN KEY (widget_id) REFERENCES public.dashboard_widget_configs (id) ON DELETE CASCADE;
ALTER TABLE public.activity_logs
    ADD FOREIGN KEY (user_id) REFERENCES auth.users (id) ON DELETE SET NULL;

-- Indexes
CREATE INDEX servers_rack_idx ON public.servers (rack, unit);
CREATE INDEX servers_glossary_idx ON public.servers (glossary_id);
CREATE INDEX servers_active_idx ON public.servers (environment, device_type)
    WHERE status = 'Active';
CREATE INDEX servers_hostname_lower_idx ON public.servers (lower(hostname));
CREATE INDEX servers_tags_idx ON public.servers USING gin (tags);
CREATE UNIQUE INDEX servers_rack_unit_key ON public.servers (rack, unit) WHERE rack IS NOT NULL;
CREATE INDEX device_cpu_specs_device_idx ON public.device_cpu_specs (device_id);
CREATE INDEX device_memory_specs_device_idx ON public.device_memory_specs (device_id);
CREATE INDEX device_storage_specs_device_idx ON public.device_storage_specs (device_id);
CREATE INDEX dashboard_widget_configs_user_idx ON public.dashboard_widget_configs (user_id);
CREATE INDEX activity_logs_created_idx ON public.activity_logs (created_at DESC);
CREATE INDEX activity_logs_user_idx ON public.activity_logs (user_id, created_at DESC);
CREATE INDEX activity_logs_details_idx ON public.activity_logs USING gin (details jsonb_path_ops);
CREATE INDEX sessions_user_idx ON auth.sessions (user_id);

-- Functions: the catalogue, for forms that build themselves
CREATE FUNCTION public.get_enum_values(enum_name text) RETURNS SETOF text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
    SELECT e.enumlabel::text
    FROM pg_enum AS e
    JOIN pg_type AS t ON t.oid = e.enumtypid
    WHERE t.typnamespace = 'public'::regnamespace AND t.typname = get_enum_values.enum_name
    ORDER BY e.enumsortorder
$$;

CREATE FUNCTION public.get_table_schema(table_name text)
RETURNS TABLE (
    column_name text, data_type text, udt_name text, is_nullable boolean, column_default text,
    is_generated boolean, ordinal_position integer
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
    SELECT c.column_name::text, c.data_type::text, c.udt_name::text, c.is_nullable = 'YES',
           c.column_default::text, c.is_generated = 'ALWAYS', c.ordinal_position::integer
    FROM information_schema.columns AS c
    WHERE c.table_schema = 'public' AND c.table_name = get_table_schema.table_name
    ORDER BY c.ordinal_position
$$;

CREATE FUNCTION public.column_exists(table_name text, column_name text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM information_schema.columns AS c
        WHERE c.table_schema = 'public'
          AND c.table_name = column_exists.table_name
          AND c.column_name = column_exists.column_name
    )
$$;

CREATE FUNCTION public.execute_sql(query text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
DECLARE
    affected bigint;
BEGIN
    EXECUTE execute_sql.query;
    GET DIAGNOSTICS affected = ROW_COUNT;
    RETURN affected;
END
$$;

CREATE FUNCTION public.get_property_definitions_with_schema()
RETURNS TABLE (
    id uuid, key text, display_name text, property_type public.property_type, enum_name text,
    is_required boolean, is_custom boolean, column_exists boolean, data_type text,
    is_nullable boolean, enum_values text[]
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
    SELECT p.id, p.key, p.display_name, p.property_type, p.enum_name, p.is_required, p.is_custom,
           c.column_name IS NOT NULL, c.data_type, c.is_nullable,
           CASE WHEN p.enum_name IS NOT NULL
                THEN ARRAY(SELECT public.get_enum_values(p.enum_name)) END
    FROM public.property_definitions AS p
    LEFT JOIN LATERAL public.get_table_schema(p.table_name) AS c ON c.column_name = p.key
    ORDER BY p.sort_order, p.key
$$;

CREATE FUNCTION public.drop_server_column(column_name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
BEGIN
    IF drop_server_column.column_name !~ '^custom_[a-z0-9_]+$' THEN
        RAISE EXCEPTION 'only custom columns can be dropped, not "%"',
            drop_server_column.column_name USING ERRCODE = 'insufficient_privilege';
    END IF;
    IF NOT public.column_exists('servers', drop_server_column.column_name) THEN
        RETURN false;
    END IF;
    EXECUTE format('ALTER TABLE public.servers DROP COLUMN %I', drop_server_column.column_name);
    DELETE FROM public.property_definitions AS p
    WHERE p.table_name = 'servers' AND p.key = drop_server_column.column_name;
    DELETE FROM public.filter_defaults AS f WHERE f.filter_key = drop_server_column.column_name;
    RETURN true;
END
$$;

CREATE FUNCTION public.delete_enum_color(enum_type text, enum_value text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
BEGIN
    DELETE FROM public.enum_colors AS c
    WHERE c.enum_type = delete_enum_color.enum_type AND c.enum_value = delete_enum_color.enum_value;
    RETURN FOUND;
END
$$;

-- Functions: users
CREATE FUNCTION public.has_role(user_id uuid, role public.app_role) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
    SELECT EXISTS (
        SELECT FROM public.user_roles AS r
        WHERE r.user_id = has_role.user_id AND r.role = has_role.role
    )
$$;

CREATE FUNCTION public.handle_new_user() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
BEGIN
    INSERT INTO public.profiles (id, email, full_name)
    VALUES (NEW.id, coalesce(NEW.email, NEW.id::text), NEW.raw_user_meta_data ->> 'full_name');
    INSERT INTO public.user_roles (user_id, role) VALUES (NEW.id, 'viewer');
    RETURN NEW;
END
$$;

CREATE FUNCTION public.create_default_admin() RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
DECLARE
    admin_id uuid;
BEGIN
    SELECT r.user_id INTO admin_id
    FROM public.user_roles AS r
    WHERE r.role = 'super_admin'
    ORDER BY r.created_at, r.user_id
    LIMIT 1;
    IF FOUND THEN
        RETURN admin_id;
    END IF;
    -- No password: the first sign-in goes through a reset link.
    INSERT INTO auth.users (email, email_confirmed_at, raw_user_meta_data)
    VALUES ('admin@example.com', now(), '{"full_name": "Default administrator"}')
    ON CONFLICT (email) DO UPDATE SET updated_at = now()
    RETURNING id INTO admin_id;
    INSERT INTO public.user_roles (user_id, role) VALUES (admin_id, 'super_admin');
    RETURN admin_id;
END
$$;

-- Functions: timestamps. Two of them because two people wrote one each; both are in use.
CREATE FUNCTION public.handle_updated_at() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp
AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE FUNCTION public.update_updated_at_column() RETURNS trigger
LANGUAGE plpgsql
AS $$
BEGIN
    IF NEW IS DISTINCT FROM OLD THEN
        NEW.updated_at = now();
    END IF;
    RETURN NEW;
END
$$;

-- Functions: power
CREATE FUNCTION public.assign_auto_power_estimation() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
DECLARE
    idle integer;
    typical integer;
    maximum integer;
BEGIN
    SELECT d.idle_watts, d.typical_watts, d.max_watts INTO idle, typical, maximum
    FROM public.device_power_specs AS d
    WHERE d.device_id = NEW.glossary_id;
    IF NOT FOUND THEN
        -- A model nobody has described yet: typical figures of its kind.
        typical := CASE NEW.device_type
            WHEN 'GPU Server' THEN 2400 WHEN 'Server' THEN 280 WHEN 'Storage' THEN 350
            WHEN 'Network' THEN 150 WHEN 'PDU' THEN 10 ELSE 120
        END;
        idle := typical / 3;
        maximum := typical * 2;
    END IF;
    INSERT INTO public.power_specs AS p
        (server_id, idle_watts, typical_watts, max_watts, is_auto_estimated)
    VALUES (NEW.id, idle, typical, maximum, true)
    ON CONFLICT (server_id) DO UPDATE
    SET idle_watts = EXCLUDED.idle_watts, typical_watts = EXCLUDED.typical_watts,
        max_watts = EXCLUDED.max_watts
    WHERE p.is_auto_estimated;
    RETURN NEW;
END
$$;

CREATE FUNCTION public.get_power_data_overview()
RETURNS TABLE (
    dc_site public.dc_site, device_type public.device_type, server_count bigint,
    with_power_data bigint, auto_estimated bigint, typical_kw numeric, max_kw numeric,
    coverage_percent numeric
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
    SELECT s.dc_site, s.device_type, count(*), count(p.id),
           count(*) FILTER (WHERE p.is_auto_estimated),
           round(coalesce(sum(p.typical_watts), 0) / 1000, 2),
           round(coalesce(sum(p.max_watts), 0) / 1000, 2),
           round(100.0 * count(p.id) / count(*), 1)
    FROM public.servers AS s
    LEFT JOIN public.power_specs AS p ON p.server_id = s.id
    GROUP BY s.dc_site, s.device_type
    ORDER BY s.dc_site, s.device_type
$$;

-- Functions: activity. Not SECURITY DEFINER, so that the policies of activity_logs apply.
CREATE FUNCTION public.get_activity_logs(
    category_filter public.activity_category DEFAULT NULL,
    severity_filter public.activity_severity DEFAULT NULL,
    user_filter uuid DEFAULT NULL,
    search_text text DEFAULT NULL,
    date_from timestamptz DEFAULT NULL,
    date_to timestamptz DEFAULT NULL,
    limit_count integer DEFAULT 50,
    offset_count integer DEFAULT 0
)
RETURNS SETOF public.activity_logs
LANGUAGE sql STABLE SET search_path = public, pg_temp
AS $$
    SELECT l.*
    FROM public.activity_logs AS l
    WHERE (category_filter IS NULL OR l.category = category_filter)
      AND (severity_filter IS NULL OR l.severity = severity_filter)
      AND (user_filter IS NULL OR l.user_id = user_filter)
      AND (date_from IS NULL OR l.created_at >= date_from)
      AND (date_to IS NULL OR l.created_at < date_to)
      AND (search_text IS NULL
           OR strpos(lower(concat_ws(' ', l.action, l.resource_id, l.user_email)),
                     lower(search_text)) > 0)
    ORDER BY l.created_at DESC, l.id DESC
    LIMIT limit_count OFFSET offset_count
$$;

CREATE FUNCTION public.get_activity_metrics(
    date_from timestamptz DEFAULT NULL, date_to timestamptz DEFAULT NULL
)
RETURNS jsonb
LANGUAGE sql STABLE SET search_path = public, pg_temp
AS $$
    WITH chosen AS (
        SELECT l.category, l.severity, l.user_id
        FROM public.activity_logs AS l
        WHERE (date_from IS NULL OR l.created_at >= date_from)
          AND (date_to IS NULL OR l.created_at < date_to)
    )
    SELECT jsonb_build_object(
        'total', (SELECT count(*) FROM chosen),
        'users', (SELECT count(DISTINCT user_id) FROM chosen),
        'by_category', (
            SELECT coalesce(jsonb_object_agg(category, n), '{}')
            FROM (SELECT category, count(*) AS n FROM chosen GROUP BY category) AS c
        ),
        'by_severity', (
            SELECT coalesce(jsonb_object_agg(severity, n), '{}')
            FROM (SELECT severity, count(*) AS n FROM chosen GROUP BY severity) AS s
        )
    )
$$;

-- Functions: filters
CREATE FUNCTION public.get_global_filter_defaults() RETURNS SETOF public.filter_defaults
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
-- A parsed body: it depends on the table as a view does.
BEGIN ATOMIC
    SELECT f.id, f.filter_key, f.display_name, f.enum_type, f.is_enabled, f.sort_order,
           f.created_at, f.updated_at
    FROM public.filter_defaults AS f
    ORDER BY f.sort_order, f.filter_key;
END;

CREATE FUNCTION public.get_user_filter_preferences(user_id uuid)
RETURNS TABLE (
    filter_key text, display_name text, enum_type text, is_enabled boolean, sort_order integer,
    is_personal boolean
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
    SELECT f.filter_key, f.display_name, f.enum_type, coalesce(u.is_enabled, f.is_enabled),
           coalesce(u.sort_order, f.sort_order), u.filter_key IS NOT NULL
    FROM public.filter_defaults AS f
    LEFT JOIN public.user_filter_preferences AS u
        ON u.filter_key = f.filter_key AND u.user_id = get_user_filter_preferences.user_id
    ORDER BY coalesce(u.sort_order, f.sort_order), f.filter_key
$$;

CREATE FUNCTION public.update_user_filter_preference(
    user_id uuid, filter_key text, is_enabled boolean, sort_order integer DEFAULT NULL
)
RETURNS public.user_filter_preferences
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    preference public.user_filter_preferences;
BEGIN
    INSERT INTO public.user_filter_preferences AS u (user_id, filter_key, is_enabled, sort_order)
    VALUES (
        update_user_filter_preference.user_id, update_user_filter_preference.filter_key,
        update_user_filter_preference.is_enabled, update_user_filter_preference.sort_order
    )
    ON CONFLICT (user_id, filter_key) DO UPDATE
    SET is_enabled = EXCLUDED.is_enabled, sort_order = coalesce(EXCLUDED.sort_order, u.sort_order)
    RETURNING u.* INTO preference;
    RETURN preference;
END
$$;

CREATE FUNCTION public.auto_enable_filters_for_user(user_id uuid) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    added integer;
BEGIN
    INSERT INTO public.user_filter_preferences (user_id, filter_key, is_enabled, sort_order)
    SELECT auto_enable_filters_for_user.user_id, f.filter_key, true, f.sort_order
    FROM public.filter_defaults AS f
    WHERE f.is_enabled
    ON CONFLICT (user_id, filter_key) DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    RETURN added;
END
$$;

CREATE FUNCTION public.sync_enum_columns_to_filter_defaults() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $$
DECLARE
    added integer;
BEGIN
    INSERT INTO public.filter_defaults (filter_key, display_name, enum_type, sort_order)
    SELECT a.attname, initcap(replace(a.attname, '_', ' ')), t.typname, 100 + a.attnum
    FROM pg_attribute AS a
    JOIN pg_type AS t ON t.oid = a.atttypid
    WHERE a.attrelid = 'public.servers'::regclass AND t.typtype = 'e' AND NOT a.attisdropped
    ON CONFLICT (filter_key) DO NOTHING;
    GET DIAGNOSTICS added = ROW_COUNT;
    RETURN added;
END
$$;

-- Triggers
CREATE TRIGGER on_auth_user_created AFTER INSERT ON auth.users
    FOR EACH ROW EXECUTE FUNCTION public.handle_new_user();
CREATE TRIGGER assign_auto_power AFTER INSERT OR UPDATE OF glossary_id, device_type
    ON public.servers FOR EACH ROW EXECUTE FUNCTION public.assign_auto_power_estimation();
CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.profiles
    FOR EACH ROW EXECUTE FUNCTION public.handle_updated_at();
CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.dashboard_widget_configs
    FOR EACH ROW EXECUTE FUNCTION public.handle_updated_at();
CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.list_widget_configs
    FOR EACH ROW EXECUTE FUNCTION public.handle_updated_at();
CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.enum_colors
    FOR EACH ROW EXECUTE FUNCTION public.handle_updated_at();
CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.filter_defaults
    FOR EACH ROW EXECUTE FUNCTION public.handle_updated_at();
CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.user_filter_preferences
    FOR EACH ROW EXECUTE FUNCTION public.handle_updated_at();
-- Not update_updated_at_column(): a row with a point in it cannot be compared.
CREATE TRIGGER set_updated_at BEFORE UPDATE ON public.rack_metadata
    FOR EACH ROW EXECUTE FUNCTION public.handle_updated_at();
CREATE TRIGGER update_servers_updated_at BEFORE UPDATE ON public.servers
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();
CREATE TRIGGER update_power_specs_updated_at BEFORE UPDATE ON public.power_specs
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();
CREATE TRIGGER update_psu_specs_updated_at BEFORE UPDATE ON public.psu_specs
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();
CREATE TRIGGER update_property_definitions_updated_at BEFORE UPDATE ON public.property_definitions
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();
CREATE TRIGGER update_device_glossary_updated_at BEFORE UPDATE ON public.device_glossary
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();

-- Views
CREATE VIEW public.rack_occupancy WITH (security_invoker = true) AS
SELECT r.rack_name, r.dc_site, r.total_units, count(s.id) AS devices,
       coalesce(sum(s.unit_height), 0) AS used_units, r.power_capacity_kw,
       round(coalesce(sum(p.typical_watts), 0) / 1000, 2) AS typical_kw
FROM public.rack_metadata AS r
LEFT JOIN public.servers AS s ON s.rack = r.rack_name
LEFT JOIN public.power_specs AS p ON p.server_id = s.id
GROUP BY r.id;

CREATE VIEW public.overloaded_racks WITH (security_invoker = true) AS
SELECT o.rack_name, o.dc_site, o.typical_kw, o.power_capacity_kw
FROM public.rack_occupancy AS o
WHERE o.typical_kw > o.power_capacity_kw;

-- Row-level security. The owner is not subject to it (not FORCED); everyone else is.
ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.refresh_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.profiles ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.user_roles ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.servers ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.power_specs ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.property_definitions ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.user_filter_preferences ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.dashboard_widget_configs ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.activity_logs ENABLE ROW LEVEL SECURITY;

CREATE POLICY "Users can view their own profile" ON public.profiles
    FOR SELECT TO authenticated
    USING (id = nullif(current_setting('request.jwt.claim.sub', true), '')::uuid);
CREATE POLICY "Users can update their own profile" ON public.profiles
    FOR UPDATE TO authenticated
    USING (id = nullif(current_setting('request.jwt.claim.sub', true), '')::uuid)
    WITH CHECK (id = nullif(current_setting('request.jwt.claim.sub', true), '')::uuid);
CREATE POLICY "Super admins manage all profiles" ON public.profiles
    TO authenticated
    USING (public.has_role(
        nullif(current_setting('request.jwt.claim.sub', true), '')::uuid, 'super_admin'));

CREATE POLICY "Users can view their own roles" ON public.user_roles
    FOR SELECT TO authenticated
    USING (user_id = nullif(current_setting('request.jwt.claim.sub', true), '')::uuid);
CREATE POLICY "Super admins manage roles" ON public.user_roles
    TO authenticated
    USING (public.has_role(
        nullif(current_setting('request.jwt.claim.sub', true), '')::uuid, 'super_admin'));

CREATE POLICY "Signed-in users can view servers" ON public.servers
    FOR SELECT TO authenticated USING (true);
CREATE POLICY "Engineers can add servers" ON public.servers
    FOR INSERT TO authenticated
    WITH CHECK (
        public.has_role(
            nullif(current_setting('request.jwt.claim.sub', true), '')::uuid, 'engineer')
        OR public.has_role(
            nullif(current_setting('request.jwt.claim.sub', true), '')::uuid, 'super_admin'));
CREATE POLICY "Engineers can update servers" ON public.servers
    FOR UPDATE TO authenticated
    USING (
        public.has_role(
            nullif(current_setting('request.jwt.claim.sub', true), '')::uuid, 'engineer')
        OR public.has_role(
            nullif(current_setting('request.jwt.claim.sub', true), '')::uuid, 'super_admin'));
CREATE POLICY "Super admins can delete servers" ON public.servers
    FOR DELETE TO authenticated
    USING (public.has_role(
        nullif(current_setting('request.jwt.claim.sub', true), '')::uuid, 'super_admin'));

CREATE POLICY "Signed-in users can view power data" ON public.power_specs
    FOR SELECT TO authenticated USING (true);
CREATE POLICY "Engineers manage power data" ON public.power_specs
    TO authenticated
    USING (
        public.has_role(
            nullif(current_setting('request.jwt.claim.sub', true), '')::uuid, 'engineer')
        OR public.has_role(
            nullif(current_setting('request.jwt.claim.sub', true), '')::uuid, 'super_admin'));

CREATE POLICY "Signed-in users can view properties" ON public.property_definitions
    FOR SELECT TO authenticated USING (true);
CREATE POLICY "Super admins manage properties" ON public.property_definitions
    TO authenticated
    USING (public.has_role(
        nullif(current_setting('request.jwt.claim.sub', true), '')::uuid, 'super_admin'));

CREATE POLICY "Users manage their own filters" ON public.user_filter_preferences
    TO authenticated
    USING (user_id = nullif(current_setting('request.jwt.claim.sub', true), '')::uuid);
CREATE POLICY "Users see shared widgets and their own" ON public.dashboard_widget_configs
    FOR SELECT TO authenticated
    USING (user_id IS NULL
           OR user_id = nullif(current_setting('request.jwt.claim.sub', true), '')::uuid);
CREATE POLICY "Users manage their own widgets" ON public.dashboard_widget_configs
    TO authenticated
    USING (user_id = nullif(current_setting('request.jwt.claim.sub', true), '')::uuid);

CREATE POLICY "Users see their own activity" ON public.activity_logs
    FOR SELECT TO authenticated
    USING (user_id = nullif(current_setting('request.jwt.claim.sub', true), '')::uuid);
CREATE POLICY "Super admins see all activity" ON public.activity_logs
    FOR SELECT TO authenticated
    USING (public.has_role(
        nullif(current_setting('request.jwt.claim.sub', true), '')::uuid, 'super_admin'));
-- Restrictive: whatever else a policy allows, nobody signs an entry with another's name.
CREATE POLICY "Nobody writes in another's name" ON public.activity_logs
    AS RESTRICTIVE FOR INSERT TO authenticated
    WITH CHECK (user_id = nullif(current_setting('request.jwt.claim.sub', true), '')::uuid);
CREATE POLICY "Signed-in users can write activity" ON public.activity_logs
    FOR INSERT TO authenticated WITH CHECK (true);

-- Grants, as Supabase's API needs them
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
GRANT USAGE ON SCHEMA auth TO service_role;
GRANT SELECT ON public.device_glossary TO anon;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO authenticated;
GRANT ALL ON ALL TABLES IN SCHEMA public, auth TO service_role;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO authenticated, service_role;
REVOKE UPDATE, DELETE ON public.activity_logs FROM authenticated;
REVOKE INSERT, UPDATE, DELETE ON public.profiles FROM authenticated;
GRANT UPDATE (full_name, department, avatar_url, timezone, preferences) ON public.profiles
    TO authenticated;

-- They run whatever they are given, as the owner.
REVOKE EXECUTE ON FUNCTION public.execute_sql(text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION public.drop_server_column(text) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION public.create_default_admin() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.execute_sql(text) TO service_role;
GRANT EXECUTE ON FUNCTION public.drop_server_column(text) TO service_role;
GRANT EXECUTE ON FUNCTION public.create_default_admin() TO service_role;

-- Comments
COMMENT ON SCHEMA auth IS 'Users and their sessions, as on Supabase';
COMMENT ON TABLE public.servers IS 'Every device in every rack, whatever its type';
COMMENT ON COLUMN public.servers.unit IS 'Lowest rack unit the device takes';
COMMENT ON COLUMN public.servers.custom_asset_owner
    IS 'Custom property: the team''s cost centre "owner"';
COMMENT ON TABLE public.power_specs IS 'One row per server, measured or estimated';
COMMENT ON TABLE public.activity_logs IS 'Who did what, when; rows are only ever added';
COMMENT ON TYPE public.lifecycle_status IS 'Grows: add labels in the application''s settings';
COMMENT ON FUNCTION public.execute_sql(text) IS 'Runs DDL for custom properties; service key only';
COMMENT ON VIEW public.rack_occupancy IS 'Units and power in use per rack';
