-- One database, owned by its migration login.
CREATE DATABASE {database} OWNER {owner} TEMPLATE {template}
