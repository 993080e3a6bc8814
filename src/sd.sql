SET client_min_messages=warning;
CREATE OR REPLACE FUNCTION public.sd() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN temporal.complete_activity(tok('sd'), '"victims"'); END $$;
CREATE OR REPLACE FUNCTION public.sdkey() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN temporal.complete_activity_by_key('k', '"victims"'); END $$;
CREATE OR REPLACE FUNCTION public.sdrec() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN PERFORM temporal.record_activity('k', tok('sdk')); END $$;
CREATE OR REPLACE FUNCTION public.sdretry(id bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN PERFORM temporal.retry_request(id); END $$;
CREATE OR REPLACE FUNCTION public.sdredir(id bigint) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN temporal.redirect_request(id, NULL); END $$;
CREATE OR REPLACE FUNCTION public.sdpurge() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN RETURN temporal.purge('0'); END $$;
CREATE TABLE IF NOT EXISTS public.vt(id text, tok bytea, r jsonb); 
