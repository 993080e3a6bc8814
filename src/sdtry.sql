\set ON_ERROR_STOP 0
SET temporal_complete.default_server='evil';
SELECT 'set', sd();
SELECT 'setkey', sdkey(); SELECT 'setrec', sdrec(); SELECT 'redir', sdredir(1);
RESET temporal_complete.default_server;
SELECT 'wrap', wrap(); SELECT 'wrap2', wrap2(); SELECT 'wrap3', wrap3();
BEGIN; SAVEPOINT a; SET LOCAL temporal_complete.default_server='evil'; RELEASE a; SELECT 'local',sd(); ROLLBACK;
SELECT set_config('temporal_complete.default_server','evil',true), 'setconfig', sd();
SET temporal_complete.delivery=off; SELECT 'deliv', sd(); SELECT 'delivkey', sdkey(); SELECT 'delivrec', sdrec(); SELECT 'delretry', sdretry(1); SELECT 'delpurge', sdpurge();
RESET ALL;
SELECT 'plain', sd();
