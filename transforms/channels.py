"""Where a visit came from: source and medium of a hit, and the channel they fall in (semantics.md A5)."""

from __future__ import annotations

import polars as pl

from warehouse import Warehouse

KEYS = {
    "utm_source": pl.String,
    "utm_medium": pl.String,
    "utm_campaign": pl.String,
    "click_id": pl.String,
    "referrer_host": pl.String,
    "is_own_referrer": pl.Boolean,
}

# A country's ending (de, com, co.uk): sites.csv writes it as a star.
COUNTRY = r"\.((co|com|net|org|ne|or)\.[a-z]{2}|[a-z]{2,3})$"

CHANNELS = r"""
with cleaned as (
    select
        hit_no,
        nullif(lower(trim(utm_source)), '') as utm_source,
        nullif(lower(trim(utm_medium)), '') as utm_medium,
        coalesce(lower(trim(utm_campaign)), '') as campaign,
        lower(trim(click_id)) as click_id,
        case
            when not coalesce(is_own_referrer, false)
            then nullif(regexp_replace(rtrim(lower(trim(referrer_host)), '.'), '^www\.', ''), '')
        end as referrer_host
    from _hits
),

-- What sites.csv may list: hosts of referrers, and sources, which campaigns write as a host or as a name.
hosts as (
    select referrer_host as host from cleaned where referrer_host is not null
    union
    select utm_source from cleaned where utm_source is not null
    union
    select source from rules.click_ids
),

labels as (
    select host, string_split(host, '.') as label
    from hosts
),

endings as (
    select
        host,
        unnest(list_transform(range(1, len(label) + 1), lambda i: array_to_string(label[i:], '.'))) as ending
    from labels
),

candidates as (
    select host, ending as domain from endings
    union
    select host, regexp_replace(ending, $country, '.*') from endings
),

listed as (
    select c.host, s.kind, s.name
    from candidates as c
    inner join rules.sites as s on c.domain = s.domain
    qualify row_number() over (partition by c.host order by length(s.domain) desc, s.domain) = 1
),

names as (
    select distinct name, kind
    from rules.sites
    where kind <> 'referral'
),

known as (
    select h.host, coalesce(n.kind, l.kind) as kind, coalesce(n.name, l.name) as name
    from hosts as h
    left join listed as l on h.host = l.host
    left join names as n on h.host = n.name
),

sourced as (
    select
        h.hit_no,
        h.campaign,
        case
            when h.utm_source is not null or h.utm_medium is not null then coalesce(h.utm_source, '(not set)')
            when c.param is not null then c.source
            when r.host is null then '(direct)'
            when r.kind is null or r.kind = 'referral' then r.host
            else r.name
        end as source,
        case
            when h.utm_source is not null or h.utm_medium is not null then coalesce(h.utm_medium, '(not set)')
            when c.param is not null then c.medium
            when r.host is null then '(none)'
            when r.kind = 'ai' then 'ai-assistant'
            when r.kind = 'search' then 'organic'
            when r.kind = 'social' then 'social'
            else 'referral'
        end as medium,
        case
            when h.utm_source is not null or h.utm_medium is not null then u.kind
            when c.param is not null then s.kind
            else r.kind
        end as kind
    from cleaned as h
    left join rules.click_ids as c on h.click_id = c.param
    left join known as u on h.utm_source = u.host
    left join known as s on c.source = s.host
    left join known as r on h.referrer_host = r.host
),

judged as (
    select
        hit_no, source, medium, campaign,
        coalesce(nullif(kind, 'referral'), '') as site_kind,
        starts_with(medium, 'paid') or contains(medium, 'cp') or medium in ('ppc', 'retargeting') as is_paid,
        regexp_matches(campaign, '(^|[^\p{L}]|e)shop|shopping') as is_shop_campaign
    from sourced
)
"""


def group(warehouse: Warehouse, hits: pl.DataFrame) -> pl.DataFrame:
    """The rows of `hits`, in their order, with traffic_source, traffic_medium, site_kind and channel.

    `hits` has the columns of KEYS (is_own_referrer may lack: false), best distinct ones, as the first
    page of a session shows them: utm tags as sent, click_id the name of the ad click parameter (gclid),
    referrer_host a bare host, is_own_referrer true for own domains and ignored ones. The first that says
    something decides: utm_source or utm_medium (the one that lacks is '(not set)'), a click id of
    rules.click_ids, the referrer, else '(direct)' / '(none)'. A campaign name alone is no source. A listed
    site is called by its name (google), another by its host. site_kind is the kind of the source's site, null
    for others. Needs the schema `rules` (rules.load).
    """
    if "is_own_referrer" not in hits.columns:
        hits = hits.with_columns(pl.lit(False).alias("is_own_referrer"))
    keys = hits.select(pl.col(name).cast(kind) for name, kind in KEYS.items()).with_row_index("hit_no")
    with warehouse.frames(_hits=keys):
        found = warehouse.frame(
            f"""{CHANNELS}
            select
                hit_no,
                source as traffic_source,
                medium as traffic_medium,
                nullif(site_kind, '') as site_kind,
                {_first_that_holds(warehouse)} as channel
            from judged
            order by hit_no
            """,
            {"country": COUNTRY},
        )
    return pl.concat([hits, found.drop("hit_no")], how="horizontal")


def _first_that_holds(warehouse: Warehouse) -> str:
    """The shipped or edited conditions as one SQL case; rules.load has checked that they only read."""
    cases = []
    for channel, condition in warehouse.execute("select channel, condition from rules.channels order by rank"):
        quoted = channel.replace("'", "''")
        cases.append(f"when ({condition}) then '{quoted}'")
    return f"case {' '.join(cases)} else 'Unassigned' end"
