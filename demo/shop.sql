-- Once, by the application: its table, and what is to happen when an order is approved.
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item text NOT NULL,
    status text NOT NULL DEFAULT 'new',
    approved_by text,
    task_token bytea
);

SELECT temporal.bind_table('orders', token_column => 'task_token', on_update_of => '{status}',
                           when_sql => $$OLD.status = 'waiting' AND NEW.status = 'approved'$$);

INSERT INTO orders (item) VALUES ('a book') RETURNING id, item, status;
