-- PostgreSQL. What was taken, so that nothing is taken twice; remove rows after 8 days or later.
CREATE TABLE taken_event (
  event_id uuid PRIMARY KEY,
  taken_at timestamptz NOT NULL DEFAULT now()
);

-- Stock by product. A removed product keeps its row and version; its quantity is null.
CREATE TABLE partner_stock (
  product_id varchar(64) PRIMARY KEY,
  quantity bigint,
  version bigint NOT NULL
);
