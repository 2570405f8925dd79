-- A small CRM with an ERP's orders. `ringlog up --crm` makes it; it can be applied again.
create table if not exists customers (
    id          bigint primary key,
    full_name   text,
    mobile      text,
    grade       text not null default 'B',
    labels      text[] not null default '{}',
    orders      integer not null default 0,
    balance     numeric(12, 2),
    zone        text,
    changed_at  timestamptz not null default now()
);
-- Deleted rows and changed keys then tell the whole row that was.
alter table customers replica identity full;

create table if not exists payments (
    id           bigint generated always as identity primary key,
    customer_id  bigint not null references customers (id) on delete cascade,
    amount       numeric(12, 2) not null,
    paid_at      timestamptz not null default now()
);
alter table payments replica identity full;

create table if not exists orders (
    id           bigint generated always as identity primary key,
    customer_id  bigint not null references customers (id) on delete cascade,
    amount       numeric(12, 2) not null,
    state        text not null default 'open',
    due_on       date,
    ordered_at   timestamptz not null default now()
);
alter table orders replica identity full;
