-- The login may assume the role by SET ROLE, inherits nothing, and cannot pass it on.
GRANT {role} TO {login} WITH ADMIN FALSE, INHERIT FALSE, SET TRUE
