-- Approved, and thought better of: nothing is sent.
BEGIN;
UPDATE orders SET status = 'approved', approved_by = 'ann' WHERE id = 1;
ROLLBACK;
SELECT count(*) AS requests FROM temporal.request;
