-- Another order is approved before its workflow has begun: the approval waits.
INSERT INTO orders (item) VALUES ('a lamp') RETURNING id, item, status;
UPDATE orders SET status = 'approved', approved_by = 'ann' WHERE id = 2;
SELECT id, verb, key, state FROM temporal.request WHERE key = '2';
