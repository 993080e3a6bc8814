-- Approved.
UPDATE orders SET status = 'approved', approved_by = 'ann' WHERE id = 1;
