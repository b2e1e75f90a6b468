-- AssetDex, a data-centre inventory on Supabase: types, tables and primary keys.
-- Run as dcim_owner before the rows are loaded; everything else is in after.sql.

-- Application enums. People add labels to them in the application, some in the middle of the list.
CREATE TYPE public.app_role AS ENUM ('super_admin', 'engineer', 'viewer');
CREATE TYPE public.device_type AS ENUM (
    'Server', 'GPU Server', 'Storage', 'Network', 'Firewall', 'Load Balancer', 'PDU', 'KVM'
);
CREATE TYPE public.allocation_type AS ENUM (
    'IAAS', 'PAAS', 'SAAS', 'Database', 'Load Balancer', 'Network', 'Storage'
);
CREATE TYPE public.environment_type AS ENUM (
    'Production', 'Pre-Production', 'Testing', 'Development', 'Disaster Recovery'
);
CREATE TYPE public.lifecycle_status AS ENUM (
    'Ordered', 'In Transit', 'Ready', 'Active', 'Maintenance', 'Inactive',
    'Decommissioned', 'Retired'
);
CREATE TYPE public.brand_type AS ENUM (
    'Dell', 'HPE', 'Lenovo', 'Supermicro', 'Cisco', 'Juniper', 'Arista', 'NetApp', 'Pure Storage',
    'NVIDIA', 'Fortinet', 'Palo Alto Networks', 'F5', 'APC', 'Raritan'
);
CREATE TYPE public.model_type AS ENUM (
    'PowerEdge R440', 'PowerEdge R540', 'PowerEdge R640', 'PowerEdge R650', 'PowerEdge R660',
    'PowerEdge R740xd', 'PowerEdge R750', 'PowerEdge R760', 'PowerEdge R7625', 'PowerEdge R840',
    'PowerEdge R260', 'PowerEdge XE9680', 'PowerVault ME5024', 'PowerStore 1200T',
    'ProLiant DL20 Gen10', 'ProLiant DL325 Gen10 Plus', 'ProLiant DL360 Gen10',
    'ProLiant DL360 Gen11', 'ProLiant DL380 Gen10', 'ProLiant DL380 Gen11', 'ProLiant DL385 Gen11',
    'ProLiant DL560 Gen10', 'Apollo 6500 Gen10 Plus', 'MSA 2062', 'Alletra 6070',
    'ThinkSystem SR250 V2', 'ThinkSystem SR630 V2', 'ThinkSystem SR630 V3', 'ThinkSystem SR650 V2',
    'ThinkSystem SR650 V3', 'ThinkSystem SR665 V3', 'ThinkSystem DE4000H', 'SYS-120U-TNR',
    'SYS-221H-TNR', 'AS-2125HS-TNR', 'SSG-6029P-E1CR12H', 'SYS-821GE-TNHR', 'DGX A100', 'DGX H100',
    'Spectrum SN3700', 'UCS C220 M6', 'UCS C240 M7', 'Nexus 93180YC-FX3', 'Nexus 9336C-FX2',
    'Catalyst 9300-48T', 'QFX5120-48Y', 'EX4300-48T', '7050SX3-48YC8', '7060CX2-32S', 'AFF A250',
    'FAS2750', 'FlashArray//X50 R4', 'FlashBlade//S200', 'FortiGate 600F', 'FortiGate 1800F',
    'PA-5420', 'PA-3420', 'BIG-IP i5800', 'rSeries r5900', 'AP7921B', 'AP8959EU3', 'PX3-5190R',
    'Dominion KX III-432'
);
CREATE TYPE public.operating_system AS ENUM (
    'Ubuntu 22.04 LTS', 'Ubuntu 24.04 LTS', 'RHEL 8', 'RHEL 9', 'Rocky Linux 9', 'Debian 12',
    'Windows Server 2019', 'Windows Server 2022', 'VMware ESXi 8', 'Oracle Linux 9',
    'Appliance firmware'
);
CREATE TYPE public.dc_site AS ENUM ('DC-East', 'DC-West', 'DC-Central');
CREATE TYPE public.psu_rating AS ENUM ('Bronze', 'Silver', 'Gold', 'Platinum', 'Titanium');
CREATE TYPE public.property_type AS ENUM (
    'text', 'number', 'boolean', 'date', 'enum', 'multi_select'
);
CREATE TYPE public.widget_type AS ENUM ('metric', 'chart', 'table', 'timeline', 'list', 'gauge');
CREATE TYPE public.activity_category AS ENUM (
    'asset', 'rack', 'power', 'glossary', 'user', 'authentication', 'dashboard', 'properties',
    'backup'
);
CREATE TYPE public.activity_severity AS ENUM (
    'debug', 'info', 'warning', 'error', 'critical'
);

CREATE DOMAIN public.hex_color AS text CHECK (VALUE ~ '^#[0-9a-f]{6}$');

-- The part of Supabase's auth schema the application relies on.
CREATE TYPE auth.aal_level AS ENUM ('aal1', 'aal2', 'aal3');

CREATE TABLE auth.users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    aud varchar(255) DEFAULT 'authenticated',
    role varchar(255) DEFAULT 'authenticated',
    email varchar(255) UNIQUE,
    encrypted_password varchar(255),
    email_confirmed_at timestamptz,
    phone text UNIQUE,
    phone_confirmed_at timestamptz,
    confirmed_at timestamptz
        GENERATED ALWAYS AS (LEAST(email_confirmed_at, phone_confirmed_at)) STORED,
    last_sign_in_at timestamptz,
    raw_app_meta_data jsonb,
    raw_user_meta_data jsonb,
    is_super_admin boolean,
    banned_until timestamptz,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now()
);

CREATE TABLE auth.sessions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    aal auth.aal_level NOT NULL DEFAULT 'aal1',
    not_after timestamptz,
    refreshed_at timestamp,
    user_agent text,
    ip inet,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now()
);

CREATE TABLE auth.refresh_tokens (
    id bigserial PRIMARY KEY,
    token varchar(255) NOT NULL UNIQUE,
    user_id uuid NOT NULL,
    parent varchar(255),
    session_id uuid,
    revoked boolean DEFAULT false,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now()
);

CREATE TABLE public.profiles (
    id uuid PRIMARY KEY,
    email text NOT NULL UNIQUE,
    full_name text,
    department text,
    avatar_url text,
    timezone text NOT NULL DEFAULT 'UTC',
    preferences jsonb NOT NULL DEFAULT '{}',
    last_login_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.user_roles (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL,
    role public.app_role NOT NULL DEFAULT 'viewer',
    assigned_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, role)
);

CREATE TABLE public.device_glossary (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    brand public.brand_type NOT NULL,
    model public.model_type NOT NULL UNIQUE,
    device_type public.device_type NOT NULL,
    height_u smallint NOT NULL CHECK (height_u BETWEEN 1 AND 42),
    weight_kg numeric(6, 2),
    release_date date,
    end_of_life date,
    datasheet_url text,
    description text,
    tags text[] NOT NULL DEFAULT '{}',
    is_verified boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK (end_of_life > release_date)
);

CREATE TABLE public.device_cpu_specs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    device_id uuid NOT NULL,
    cpu_model text NOT NULL,
    sockets smallint NOT NULL CHECK (sockets > 0),
    cores_per_socket smallint NOT NULL CHECK (cores_per_socket > 0),
    total_cores integer GENERATED ALWAYS AS (sockets * cores_per_socket) STORED,
    base_ghz real NOT NULL,
    tdp_watts integer NOT NULL,
    architecture text NOT NULL DEFAULT 'x86_64'
);

CREATE TABLE public.device_memory_specs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    device_id uuid NOT NULL,
    memory_type text NOT NULL,
    max_capacity_gb integer NOT NULL CHECK (max_capacity_gb > 0),
    dimm_slots smallint NOT NULL,
    speed_mts integer,
    ecc boolean NOT NULL DEFAULT true
);

CREATE TABLE public.device_storage_specs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    device_id uuid NOT NULL,
    drive_bays smallint NOT NULL CHECK (drive_bays > 0),
    form_factor text NOT NULL,
    interfaces text[] NOT NULL,
    max_capacity_tb numeric(10, 2) NOT NULL,
    raid_levels smallint[],
    hot_swap boolean NOT NULL DEFAULT true
);

CREATE TABLE public.device_network_specs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    device_id uuid NOT NULL,
    port_kind text NOT NULL,
    port_count smallint NOT NULL CHECK (port_count > 0),
    speed_gbps numeric(6, 1) NOT NULL,
    is_management boolean NOT NULL DEFAULT false,
    UNIQUE (device_id, port_kind, speed_gbps)
);

CREATE TABLE public.device_power_specs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    device_id uuid NOT NULL UNIQUE,
    psu_count smallint NOT NULL,
    psu_watts integer NOT NULL,
    psu_rating public.psu_rating NOT NULL,
    idle_watts integer NOT NULL,
    typical_watts integer NOT NULL,
    max_watts integer NOT NULL,
    input_voltage int4range NOT NULL,
    redundancy text NOT NULL DEFAULT '1+1',
    CHECK (idle_watts <= typical_watts AND typical_watts <= max_watts)
);

CREATE TABLE public.device_management_specs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    device_id uuid NOT NULL UNIQUE,
    controller text NOT NULL,
    protocols text[] NOT NULL,
    dedicated_port boolean NOT NULL DEFAULT true,
    firmware jsonb NOT NULL DEFAULT '{}'
);

CREATE TABLE public.device_compatibility (
    device_id uuid NOT NULL,
    compatible_with_id uuid NOT NULL,
    compatibility_type text NOT NULL
        CHECK (compatibility_type IN ('successor', 'uplink', 'power_feed')),
    notes text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (device_id, compatible_with_id, compatibility_type),
    CHECK (device_id <> compatible_with_id)
);

CREATE TABLE public.rack_metadata (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    rack_name text NOT NULL UNIQUE,
    dc_site public.dc_site NOT NULL,
    dc_building text NOT NULL,
    dc_floor smallint NOT NULL,
    dc_room text NOT NULL,
    total_units smallint NOT NULL DEFAULT 42,
    reserved_units int4range,
    power_capacity_kw numeric(6, 2) NOT NULL,
    subnet cidr,
    position_xy point,
    description text,
    -- Racks imported from the spreadsheet AssetDex replaced have no creation time.
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.servers (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    hostname text NOT NULL UNIQUE,
    serial_number text NOT NULL UNIQUE,
    brand public.brand_type,
    model public.model_type,
    device_type public.device_type NOT NULL DEFAULT 'Server',
    glossary_id uuid,
    operating_system public.operating_system,
    environment public.environment_type NOT NULL DEFAULT 'Production',
    allocation public.allocation_type,
    status public.lifecycle_status NOT NULL DEFAULT 'Ready',
    dc_site public.dc_site NOT NULL,
    dc_building text,
    dc_floor smallint,
    dc_room text,
    rack text,
    unit smallint,
    unit_height smallint NOT NULL DEFAULT 1,
    legacy_room_code text,
    ip_address inet UNIQUE,
    management_ip inet,
    mac_address macaddr,
    memory_gb integer,
    storage_tb numeric(10, 2),
    primary_server_id uuid,
    warranty interval,
    tags text[] NOT NULL DEFAULT '{}',
    notes text,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((rack IS NULL) = (unit IS NULL)),
    CHECK (unit >= 1 AND unit_height >= 1 AND unit + unit_height <= 53)
);

-- What people did to it at run time: properties added in the application, and one old column
-- dropped, so column numbers have a gap.
ALTER TABLE public.servers ADD COLUMN custom_warranty_expiry date;
ALTER TABLE public.servers ADD COLUMN custom_asset_owner text;
ALTER TABLE public.servers ADD COLUMN custom_monitored boolean DEFAULT true;
ALTER TABLE public.servers DROP COLUMN legacy_room_code;

CREATE TABLE public.power_specs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    server_id uuid NOT NULL UNIQUE,
    idle_watts numeric(8, 2) NOT NULL CHECK (idle_watts >= 0),
    typical_watts numeric(8, 2) NOT NULL,
    max_watts numeric(8, 2) NOT NULL,
    power_factor double precision NOT NULL DEFAULT 0.95 CHECK (power_factor BETWEEN 0 AND 1),
    voltage smallint NOT NULL DEFAULT 230,
    annual_kwh numeric(12, 2) GENERATED ALWAYS AS (typical_watts * 8.76) STORED,
    is_auto_estimated boolean NOT NULL DEFAULT false,
    measured_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK (idle_watts <= typical_watts AND typical_watts <= max_watts)
);

CREATE TABLE public.psu_specs (
    server_id uuid NOT NULL,
    slot smallint NOT NULL CHECK (slot BETWEEN 1 AND 8),
    watts integer NOT NULL,
    rating public.psu_rating NOT NULL,
    serial_number text UNIQUE,
    feed char(1) NOT NULL CHECK (feed IN ('A', 'B')),
    is_healthy boolean NOT NULL DEFAULT true,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (server_id, slot)
);

CREATE TABLE public.property_definitions (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    table_name text NOT NULL DEFAULT 'servers',
    key text NOT NULL,
    display_name text NOT NULL,
    property_type public.property_type NOT NULL,
    enum_name text,
    is_required boolean NOT NULL DEFAULT false,
    is_custom boolean NOT NULL DEFAULT false,
    default_value text,
    options jsonb,
    sort_order integer NOT NULL DEFAULT 0,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (table_name, key),
    CHECK ((property_type = 'enum') = (enum_name IS NOT NULL))
);

CREATE TABLE public.enum_colors (
    id serial PRIMARY KEY,
    enum_type text NOT NULL,
    enum_value text NOT NULL,
    color public.hex_color NOT NULL,
    created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now(),
    UNIQUE (enum_type, enum_value)
);

CREATE TABLE public.filter_defaults (
    id integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY,
    filter_key text NOT NULL UNIQUE,
    display_name text NOT NULL,
    enum_type text,
    is_enabled boolean NOT NULL DEFAULT true,
    sort_order integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.user_filter_preferences (
    user_id uuid NOT NULL,
    filter_key text NOT NULL,
    is_enabled boolean NOT NULL,
    sort_order integer,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, filter_key)
);

CREATE TABLE public.dashboard_widget_configs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    -- No user: a widget everyone sees.
    user_id uuid,
    dashboard text NOT NULL DEFAULT 'main',
    title text NOT NULL,
    widget_type public.widget_type NOT NULL,
    data_source text NOT NULL,
    config jsonb NOT NULL DEFAULT '{}',
    grid_position json NOT NULL,
    is_visible boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.list_widget_configs (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    widget_id uuid NOT NULL UNIQUE,
    columns text[] NOT NULL,
    filters jsonb NOT NULL DEFAULT '[]',
    environments public.environment_type[],
    sort_column text,
    sort_descending boolean NOT NULL DEFAULT false,
    page_size smallint NOT NULL DEFAULT 25 CHECK (page_size BETWEEN 1 AND 200),
    refresh_every interval,
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.activity_logs (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    category public.activity_category NOT NULL,
    action text NOT NULL,
    resource_type text,
    resource_id text,
    severity public.activity_severity NOT NULL DEFAULT 'info',
    details jsonb NOT NULL DEFAULT '{}',
    user_id uuid,
    user_email text,
    ip_address inet,
    user_agent text,
    created_at timestamptz NOT NULL DEFAULT now()
);
