-- Once, by the application: its table, and what is to happen when an order is approved.
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item text NOT NULL,
    status text NOT NULL DEFAULT 'new',
    approved_by text
);

-- The activity that waits is recorded under the order's id. It may come later than the approval, which then waits for it.
SELECT temporal.bind_table('orders', key_column => 'id', wait_for_key => '30 days', on_update_of => '{status}',
                           when_sql => $$OLD.status <> 'approved' AND NEW.status = 'approved'$$);

INSERT INTO orders (item) VALUES ('a book') RETURNING id, item, status;
