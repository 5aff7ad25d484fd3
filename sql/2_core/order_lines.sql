-- grain: one row per product of an order, as the order lists them
-- inputs: core.orders, core.events
-- surprising row: an order without a product list has no line
-- reach: the lines of the same order
create table if not exists core.order_lines (
    order_id varchar not null, -- the order
    source varchar not null, -- configured name of the site or app
    line_no integer not null, -- place in the list, from 1
    product_id varchar, -- the product
    category varchar not null, -- its category; (none) without one
    quantity_n decimal(18, 4) not null, -- how many; 1 without a number
    price_amt decimal(18, 4), -- price of one, as sent
    event_no bigint not null -- the order's event
);

with listed as (
    select
        o.order_id, o.source, o.event_no,
        unnest(cast(json_extract(e.properties, '$.products') as json[])) as product,
        generate_subscripts(cast(json_extract(e.properties, '$.products') as json[]), 1) as line_no
    from core.orders as o
    inner join order_events as e on o.event_no = e.event_no
    where
        o.event_no in (select event_no from new_orders)
        and json_type(e.properties, '$.products') = 'ARRAY'
)

select
    order_id,
    source,
    line_no,
    coalesce(json_extract_string(product, '$.product_id'), json_extract_string(product, '$.sku')) as product_id,
    coalesce(nullif(json_extract_string(product, '$.category'), ''), '(none)') as category,
    coalesce(try_cast(json_extract_string(product, '$.quantity') as decimal(18, 4)), 1) as quantity_n,
    try_cast(json_extract_string(product, '$.price') as decimal(18, 4)) as price_amt,
    event_no
from listed
