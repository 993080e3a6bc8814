-- Once, by the administrator: the extension, where Temporal is, and who may complete activities there.
CREATE EXTENSION temporal_complete;
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete
    OPTIONS (address :'address', namespace :'namespace');
CREATE ROLE shop LOGIN;
GRANT USAGE ON FOREIGN SERVER temporal TO shop;
GRANT CREATE ON SCHEMA public TO shop;
