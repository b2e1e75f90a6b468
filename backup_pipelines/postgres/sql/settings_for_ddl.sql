-- What pg_dump sets in the preamble of its SQL, for the transaction that applies it.
SELECT set_config('check_function_bodies', 'false', true),
       set_config('client_min_messages', 'warning', true),
       set_config('standard_conforming_strings', 'on', true),
       set_config('search_path', '', true),
       set_config('xmloption', 'content', true),
       set_config('row_security', 'off', true)
