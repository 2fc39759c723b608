-- This kind's own logins may connect.
GRANT CONNECT ON DATABASE {database} TO {login}
