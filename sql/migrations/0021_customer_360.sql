-- One row a customer: the newest profile with all that calls, lists, orders and payments add to it.
-- Those who were merged into another are within that one's row. A profile holds the newest orders
-- and payments; here all count. A promise whose day has passed is broken, also where no record came
-- since then to say so.
CREATE OR REPLACE VIEW customer_360 AS
WITH newest AS
(
    SELECT * FROM
    (
        SELECT * FROM raw_customers_profiles
        WHERE customer_id != ''
        ORDER BY _partition, _offset LIMIT 1 BY customer_id, event_id
    )
    ORDER BY _partition DESC, _offset DESC
    LIMIT 1 BY customer_id
),
people AS
(
    SELECT * FROM newest WHERE merged_into IS NULL
),
names AS
(
    SELECT assumeNotNull(customer_id) AS known_as,
        arrayJoin(arrayPushBack(absorbed, assumeNotNull(customer_id))) AS id
    FROM people
),
called AS
(
    SELECT
        names.known_as AS known_as,
        argMax(calls.call_id, (calls.started_at, calls.call_id)) AS last_call_id,
        max(calls.started_at) AS last_call_at,
        argMax((calls.disposition, 0), (calls.started_at, calls.call_id)).1 AS last_disposition,
        argMax((calls.campaign_id, 0), (calls.started_at, calls.call_id)).1 AS last_campaign_id
    FROM calls
    INNER JOIN names ON names.id = assumeNotNull(calls.customer_id)
    WHERE calls.customer_id != ''
    GROUP BY known_as
),
listed AS
(
    SELECT names.known_as AS known_as,
        arraySort(groupUniqArray(assumeNotNull(wanted.campaign_id))) AS campaigns
    FROM
    (
        SELECT DISTINCT assumeNotNull(customer_id) AS id, campaign_id FROM raw_campaigns_contacts
        WHERE customer_id != '' AND campaign_id != ''
        UNION DISTINCT
        SELECT DISTINCT assumeNotNull(customer_id) AS id, campaign_id FROM raw_tasks_requested
        WHERE customer_id != '' AND campaign_id != ''
    ) AS wanted
    INNER JOIN names ON names.id = wanted.id
    GROUP BY known_as
),
ledger AS
(
    SELECT
        known_as,
        countIf(kind = 'order') AS orders,
        countIf(kind = 'payment') AS payments,
        maxOrNullIf(made, kind = 'payment') AS last_payment_at,
        sumMapIf(map(currency_, amount_), kind = 'order' AND currency_ != '') AS ordered_minor,
        sumMapIf(map(currency_, amount_), kind = 'payment' AND currency_ != '') AS paid_minor
    FROM
    (
        SELECT
            names.known_as AS known_as, kind, source, record_id,
            argMax((status, 0), (occurred_at, _partition, _offset)).1 AS status_,
            argMax(ifNull(amount_minor, 0), (occurred_at, _partition, _offset)) AS amount_,
            argMax(upper(ifNull(currency, '')), (occurred_at, _partition, _offset)) AS currency_,
            argMax(ifNull(made_at, occurred_at), (occurred_at, _partition, _offset)) AS made
        FROM raw_customers_changes AS told
        INNER JOIN names ON names.id = assumeNotNull(told.customer_id)
        WHERE kind IN ('order', 'payment') AND record_id != '' AND told.customer_id != ''
        GROUP BY known_as, kind, source, record_id
    )
    WHERE ifNull(status_, '') != 'void'
    GROUP BY known_as
)
SELECT
    people.customer_id AS customer_id,
    people.absorbed AS absorbed,
    people.version AS version,
    people.occurred_at AS updated_at,
    people.name AS name,
    people.level AS level,
    people.tags AS tags,
    people.attributes AS attributes,
    people.sources AS sources,
    people.told_at AS told_at,
    people.purchases AS purchases,
    people.purchase_intent AS purchase_intent,
    people.last_intent AS last_intent,
    people.last_emotion AS last_emotion,
    people.opted_out AS opted_out,
    people.opted_out_in AS opted_out_in,
    people.consents AS consents,
    people.calls AS calls,
    people.answered_calls AS answered_calls,
    called.last_call_id AS last_call_id,
    called.last_call_at AS last_call_at,
    called.last_disposition AS last_disposition,
    called.last_campaign_id AS last_campaign_id,
    listed.campaigns AS campaigns,
    ifNull(ledger.orders, 0) AS orders,
    ledger.ordered_minor AS ordered_minor,
    ifNull(ledger.payments, 0) AS payments,
    ledger.paid_minor AS paid_minor,
    ledger.last_payment_at AS last_payment_at,
    arrayMap(p -> (p.call_id, fromUnixTimestamp64Milli(p.said_at, 'UTC'),
        fromUnixTimestamp64Milli(p.due_at, 'UTC'), p.amount_minor,
        if(p.state = 'open' AND p.due_at < toUnixTimestamp64Milli(now64(3)), 'broken', p.state)),
        people.payment_promises)::Array(Tuple(call_id String, said_at DateTime64(3, 'UTC'),
        due_at DateTime64(3, 'UTC'), amount_minor Nullable(Int64), state String)) AS promises
FROM people
LEFT JOIN called ON called.known_as = people.customer_id
LEFT JOIN listed ON listed.known_as = people.customer_id
LEFT JOIN ledger ON ledger.known_as = people.customer_id
SETTINGS join_use_nulls = 1;
