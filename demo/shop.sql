-- Once, by the application: its table, and what is to happen when an order is approved.
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    item text NOT NULL,
    status text NOT NULL DEFAULT 'new',
    approved_by text,
    task_token bytea
);

CREATE FUNCTION order_was_approved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM temporal.complete_activity(NEW.task_token, to_jsonb(NEW) - 'task_token');
    RETURN NULL;
END
$$;

CREATE TRIGGER order_was_approved AFTER UPDATE OF status ON orders
    FOR EACH ROW WHEN (OLD.status = 'waiting' AND NEW.status = 'approved')
    EXECUTE FUNCTION order_was_approved();

INSERT INTO orders (item) VALUES ('a book') RETURNING id, item, status;
