-- What became of it:
SELECT id, verb, workflow_id, state, attempts, finished_at - requested_at AS took
  FROM temporal.wait_for_request((SELECT max(id) FROM temporal.request), '30s');
