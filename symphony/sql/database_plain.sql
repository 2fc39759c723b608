-- An empty scratch database; what PUBLIC may in it is the migrations' to say.
CREATE DATABASE {database} TEMPLATE template0
