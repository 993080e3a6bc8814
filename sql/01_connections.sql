--
-- Where Temporal is, and who may go there with which credentials.
--
CREATE ROLE regress_tc_admin;
CREATE ROLE regress_tc_app;
CREATE ROLE regress_tc_other;

-- A server with nothing said is a Temporal on this machine
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete;
DROP SERVER temporal;

-- Everything that can be said of a server
CREATE SERVER temporal FOREIGN DATA WRAPPER temporal_complete OPTIONS (
    address 'temporal.example.com:7233',
    namespace 'orders',
    tls 'true',
    tls_server_name 'frontend.example.com',
    tls_disable_host_verification 'off',
    tls_server_ca_cert_path '/etc/ssl/certs/example.pem',
    authority 'temporal.example.com',
    max_in_flight '200',
    connect_timeout '5s',
    request_timeout '500ms',
    retry_initial_interval '0.5s',
    retry_max_interval '1min',
    expire_after '7d',
    grpc_meta_x_tenant 'blue',
    "grpc_meta_X-Region" 'eu');
SELECT option_name, option_value
  FROM pg_catalog.pg_options_to_table((SELECT srvoptions FROM pg_catalog.pg_foreign_server
                                        WHERE srvname = 'temporal'));
ALTER SERVER temporal OPTIONS (DROP tls_server_ca_cert_path, SET address '[2001:db8::1]:7233');

--
-- What cannot be meant is an error at once
--
ALTER SERVER temporal OPTIONS (adress 'localhost:7233');
ALTER SERVER temporal OPTIONS (api_key 'app-secret');
ALTER FOREIGN DATA WRAPPER temporal_complete OPTIONS (address 'localhost:7233');

-- addresses
ALTER SERVER temporal OPTIONS (SET address 'localhost');
ALTER SERVER temporal OPTIONS (SET address 'localhost:');
ALTER SERVER temporal OPTIONS (SET address ':7233');
ALTER SERVER temporal OPTIONS (SET address 'localhost:77233');
ALTER SERVER temporal OPTIONS (SET address 'localhost:7233/x');
ALTER SERVER temporal OPTIONS (SET address 'localhost:7233 ');
ALTER SERVER temporal OPTIONS (SET address '::1:7233');
ALTER SERVER temporal OPTIONS (SET address '[::1]');
ALTER SERVER temporal OPTIONS (SET address '[localhost]:7233');
ALTER SERVER temporal OPTIONS (SET address 'https://localhost:7233');
ALTER SERVER temporal OPTIONS (SET address '/run/temporal.sock');
ALTER SERVER temporal OPTIONS (SET address 'unix:/run/temporal.sock');
ALTER SERVER temporal OPTIONS (SET address '');
ALTER SERVER temporal OPTIONS (SET authority 'a b');
ALTER SERVER temporal OPTIONS (SET tls_server_name 'a/b');
ALTER SERVER temporal OPTIONS (SET namespace '');

-- a proxy is a URL, as elsewhere
ALTER SERVER temporal OPTIONS (ADD proxy 'http://proxy.example.com:3128');
ALTER SERVER temporal OPTIONS (SET proxy 'http://[2001:db8::1]:3128');
ALTER SERVER temporal OPTIONS (SET proxy 'proxy.example.com:3128');
ALTER SERVER temporal OPTIONS (SET proxy 'https://proxy.example.com:3128');
ALTER SERVER temporal OPTIONS (SET proxy 'socks5://proxy.example.com:3128');
ALTER SERVER temporal OPTIONS (SET proxy 'http://proxy.example.com');
ALTER SERVER temporal OPTIONS (SET proxy 'http://proxy.example.com:3128/');
ALTER SERVER temporal OPTIONS (SET proxy 'http://shop:app-secret@proxy.example.com:3128');
ALTER SERVER temporal OPTIONS (SET proxy E'http://proxy.example.com:3128\r\nX: y');
ALTER SERVER temporal OPTIONS (ADD proxy_auth 'shop:app-secret');
ALTER SERVER temporal OPTIONS (DROP proxy);

-- numbers, truth and times; a time without a unit would have to be guessed
ALTER SERVER temporal OPTIONS (SET max_in_flight '0');
ALTER SERVER temporal OPTIONS (SET max_in_flight '4097');
ALTER SERVER temporal OPTIONS (SET max_in_flight 'many');
ALTER SERVER temporal OPTIONS (SET tls 'maybe');
ALTER SERVER temporal OPTIONS (ADD transport 'pigeon');
ALTER SERVER temporal OPTIONS (SET request_timeout '10');
ALTER SERVER temporal OPTIONS (SET request_timeout '10 parsecs');
ALTER SERVER temporal OPTIONS (SET request_timeout '-1s');
ALTER SERVER temporal OPTIONS (SET request_timeout '2h');
ALTER SERVER temporal OPTIONS (SET expire_after '0');
ALTER SERVER temporal OPTIONS (SET expire_after '1000000d');
ALTER SERVER temporal OPTIONS (SET retry_max_interval '100ms');

-- certificates and files
ALTER SERVER temporal OPTIONS (ADD tls_server_ca_cert_path 'certs/ca.pem');
ALTER SERVER temporal OPTIONS (ADD tls_server_ca_cert_data 'MIIB');
ALTER SERVER temporal OPTIONS (
    ADD tls_server_ca_cert_path '/ca.pem',
    ADD tls_server_ca_cert_data E'-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n');

-- the codec server: a URL, without what is not sent
ALTER SERVER temporal OPTIONS (ADD codec_endpoint 'https://codec.example.com/v1/{namespace}/', ADD encode_common_attributes 'true');
ALTER SERVER temporal OPTIONS (DROP codec_endpoint);
ALTER SERVER temporal OPTIONS (SET codec_endpoint 'http://[2001:db8::1]:8081');
ALTER SERVER temporal OPTIONS (SET codec_endpoint 'codec.example.com');
ALTER SERVER temporal OPTIONS (SET codec_endpoint 'ftp://codec.example.com');
ALTER SERVER temporal OPTIONS (SET codec_endpoint 'https://user:url-secret@codec.example.com');
ALTER SERVER temporal OPTIONS (SET codec_endpoint 'https://');
ALTER SERVER temporal OPTIONS (SET codec_endpoint 'https://codec.example.com:0');
ALTER SERVER temporal OPTIONS (SET codec_endpoint 'https://codec.example.com/?key=url-secret');
ALTER SERVER temporal OPTIONS (SET codec_endpoint E'https://codec.example.com/a\r\nX: y');
ALTER SERVER temporal OPTIONS (SET codec_endpoint 'https://codec.example.com/a#b');
ALTER SERVER temporal OPTIONS (SET encode_common_attributes 'perhaps');
ALTER SERVER temporal OPTIONS (ADD codec_auth 'Bearer server-secret');

-- metadata
ALTER SERVER temporal OPTIONS (ADD grpc_meta_authorization 'Bearer x');
ALTER SERVER temporal OPTIONS (ADD grpc_meta_grpc_timeout '1S');
ALTER SERVER temporal OPTIONS (ADD grpc_meta_ 'x');
ALTER SERVER temporal OPTIONS (ADD "grpc_meta_x tenant" 'x');
ALTER SERVER temporal OPTIONS (ADD "grpc_meta_x-tenant" 'green');
ALTER SERVER temporal OPTIONS (SET grpc_meta_x_tenant E'blue\n');

--
-- User mappings hold credentials.  What is wrong with one is said without it.
--
CREATE USER MAPPING FOR regress_tc_app SERVER temporal OPTIONS (api_key 'app-secret');
CREATE USER MAPPING FOR PUBLIC SERVER temporal OPTIONS (
    tls_client_cert_data E'-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n',
    tls_client_key_data E'-----BEGIN PRIVATE KEY-----\npublic-secret\n-----END PRIVATE KEY-----\n');
ALTER USER MAPPING FOR PUBLIC SERVER temporal OPTIONS (address 'localhost:7233');
ALTER USER MAPPING FOR PUBLIC SERVER temporal OPTIONS (DROP tls_client_key_data);
ALTER USER MAPPING FOR PUBLIC SERVER temporal OPTIONS (SET tls_client_key_data 'public-secret');
ALTER USER MAPPING FOR PUBLIC SERVER temporal OPTIONS (SET tls_client_key_data
    E'-----BEGIN ENCRYPTED PRIVATE KEY-----\npublic-secret\n-----END ENCRYPTED PRIVATE KEY-----\n');
ALTER USER MAPPING FOR PUBLIC SERVER temporal OPTIONS (ADD tls_client_cert_path '/client.pem');
ALTER USER MAPPING FOR PUBLIC SERVER temporal OPTIONS (ADD api_key 'Bearer app-secret');
ALTER USER MAPPING FOR PUBLIC SERVER temporal OPTIONS (ADD api_key E'app-secret\n');
ALTER USER MAPPING FOR regress_tc_app SERVER temporal OPTIONS (ADD api_key_path '/api_key');
ALTER USER MAPPING FOR PUBLIC SERVER temporal OPTIONS (ADD proxy_auth 'app-secret');
ALTER USER MAPPING FOR PUBLIC SERVER temporal OPTIONS (ADD proxy_auth E'shop:app-secret\r\nX: y');
ALTER USER MAPPING FOR PUBLIC SERVER temporal OPTIONS (ADD proxy 'http://proxy.example.com:3128');
ALTER USER MAPPING FOR PUBLIC SERVER temporal OPTIONS (ADD proxy_auth 'shop:app-secret: %41');
ALTER USER MAPPING FOR PUBLIC SERVER temporal OPTIONS (DROP proxy_auth);
ALTER USER MAPPING FOR regress_tc_app SERVER temporal OPTIONS (ADD codec_auth E'Bearer codec-secret\n');
ALTER USER MAPPING FOR regress_tc_app SERVER temporal OPTIONS (ADD codec_auth 'Bearer codec-secret');

--
-- Who may do what.  At first nobody but the owner may do anything.
--
SET ROLE regress_tc_admin;
CREATE SERVER mine FOREIGN DATA WRAPPER temporal_complete;
RESET ROLE;
GRANT USAGE ON FOREIGN DATA WRAPPER temporal_complete TO regress_tc_admin;

-- files of the database server are for those who may read them anyhow
SET ROLE regress_tc_admin;
CREATE SERVER mine FOREIGN DATA WRAPPER temporal_complete;
ALTER SERVER mine OPTIONS (tls_server_ca_cert_path '/etc/ssl/certs/example.pem');
CREATE USER MAPPING FOR regress_tc_admin SERVER mine OPTIONS (api_key_path '/api_key');
RESET ROLE;
GRANT pg_read_server_files TO regress_tc_admin;
SET ROLE regress_tc_admin;
ALTER SERVER mine OPTIONS (tls_server_ca_cert_path '/etc/ssl/certs/example.pem');
RESET ROLE;
REVOKE pg_read_server_files FROM regress_tc_admin;

-- USAGE on the server decides who may send there, at once in both directions
SET ROLE regress_tc_app;
SELECT temporal.complete_activity_by_id('order-1', 'approve') > 0 AS recorded;
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER temporal TO regress_tc_app;
SET ROLE regress_tc_app;
SELECT temporal.complete_activity_by_id('order-1', 'approve') > 0 AS recorded;
RESET ROLE;
REVOKE USAGE ON FOREIGN SERVER temporal FROM regress_tc_app;
SET ROLE regress_tc_app;
SELECT temporal.complete_activity_by_id('order-1', 'approve') > 0 AS recorded;
RESET ROLE;

-- also through membership in a role
GRANT USAGE ON FOREIGN SERVER temporal TO regress_tc_admin;
GRANT regress_tc_admin TO regress_tc_app;
SET ROLE regress_tc_app;
SELECT temporal.complete_activity_by_id('order-1', 'approve') > 0 AS recorded;
RESET ROLE;
REVOKE regress_tc_admin FROM regress_tc_app;
SET ROLE regress_tc_app;
SELECT temporal.complete_activity_by_id('order-1', 'approve') > 0 AS recorded;
RESET ROLE;

-- a function of the definer's rights sends in the definer's name
GRANT CREATE ON SCHEMA public TO regress_tc_admin;
SET ROLE regress_tc_admin;
CREATE FUNCTION public.approve(workflow_id text) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$ SELECT temporal.complete_activity_by_id(workflow_id, 'approve') > 0 $$;
RESET ROLE;
SET ROLE regress_tc_app;
SELECT public.approve('order-2');
RESET ROLE;
SELECT requested_by, workflow_id FROM temporal.request WHERE workflow_id = 'order-2';
DROP FUNCTION public.approve(text);
REVOKE CREATE ON SCHEMA public FROM regress_tc_admin;

-- requests are seen by those who have the rights of the role that made them
SET ROLE regress_tc_app;
SELECT requested_by, workflow_id FROM temporal.request ORDER BY id;
SET ROLE regress_tc_other;
SELECT count(*) FROM temporal.request;
SELECT count(*) FROM temporal_internal.outbox;
RESET ROLE;

-- credentials are seen by nobody else
SET ROLE regress_tc_other;
SELECT usename, umoptions FROM pg_catalog.pg_user_mappings
 WHERE srvname IN ('temporal', 'mine') ORDER BY usename COLLATE "C";
SELECT count(*) FROM pg_catalog.pg_user_mapping;
RESET ROLE;

--
-- Servers that do not serve
--
SELECT temporal.complete_activity_by_id('order-1', 'approve', server => 'nowhere');
CREATE FOREIGN DATA WRAPPER regress_tc_wrapper;
CREATE SERVER regress_tc_server FOREIGN DATA WRAPPER regress_tc_wrapper;
SELECT temporal.complete_activity_by_id('order-1', 'approve', server => 'regress_tc_server');
DROP FOREIGN DATA WRAPPER regress_tc_wrapper CASCADE;
SET temporal_complete.default_server = '';
SELECT temporal.complete_activity_by_id('order-1', 'approve');
SET temporal_complete.default_server = 'mine';
SELECT temporal.complete_activity_by_id('order-3', 'approve') > 0 AS recorded;
RESET temporal_complete.default_server;

-- without an argument the server is that of the setting at the time of the call, the namespace what the server's option
-- says when the request is sent
ALTER SERVER temporal OPTIONS (SET namespace 'invoices');
SELECT temporal.complete_activity_by_id('order-4', 'approve') > 0 AS recorded;

-- other namespaces may be named if the server lists them
SELECT temporal.complete_activity_by_id('order-5', 'approve', namespace => 'invoices') > 0 AS recorded;
SELECT temporal.complete_activity_by_id('order-5', 'approve', namespace => 'shipping');
ALTER SERVER temporal OPTIONS (ADD namespaces 'returns, ');
ALTER SERVER temporal OPTIONS (ADD namespaces '*, shipping');
ALTER SERVER temporal OPTIONS (ADD namespaces 'returns , shipping');
SELECT temporal.complete_activity_by_id('order-5', 'approve', namespace => 'shipping') > 0 AS recorded;
SELECT temporal.complete_activity_by_id('order-5', 'approve', namespace => 'returns , shipping');
ALTER SERVER temporal OPTIONS (SET namespaces '*');
SELECT temporal.complete_activity_by_id('order-6', 'approve', namespace => 'returns , shipping') > 0 AS recorded;
SELECT server, namespace, workflow_id FROM temporal.request ORDER BY id;

DROP SERVER mine CASCADE;
DROP SERVER temporal CASCADE;
REVOKE USAGE ON FOREIGN DATA WRAPPER temporal_complete FROM regress_tc_admin;
DELETE FROM temporal_internal.outbox;
DROP ROLE regress_tc_admin, regress_tc_app, regress_tc_other;
