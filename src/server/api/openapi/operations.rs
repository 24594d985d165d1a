//! The table of operations. An operation that is missing here, or that answers otherwise, fails the tests of `tests/http`.

use serde_json::{Value, json};

use super::operation::{Operation, Type};
use crate::limit::json::DefinitionJson;
use crate::protocol::{
    ChangeAnswer, ChangeQuery, CompleteAnswer, CompleteBody, DeleteAnswer, DeleteQuery, DenialsAnswer,
    DenialsQuery, ErrorBody, ExtendBody, HistoryAnswer, LimitAnswer, LimitsAnswer, ListQuery,
    ObjectCancelAnswer, ObjectCancelBody, ObjectPermitsAnswer, ObjectRateBody, ObjectReleaseAnswer,
    ObjectReleaseBody, ObjectReserveAheadBody, ObjectReserveAnswer, ObjectReserveBody, ObjectStateAnswer,
    ObjectTryAnswer, RenewBody, ReplenishAnswer, ReplenishBody, ReplicasAnswer, ReserveAnswer, ReserveBody,
    ResetBody,
};
use crate::server::api::asked::ReserveQuery;
use crate::server::api::check::CheckFields;
use crate::server::api::health::Ready;
use crate::server::auth::Scope;

const LEASE: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
const KEY: &str = "tenant:acme:llm:daily_tokens";

const RESERVE: Option<Scope> = Some(Scope::Reserve);
const READ: Option<Scope> = Some(Scope::Read);
const ADMIN: Option<Scope> = Some(Scope::Admin);
const METRICS: Option<Scope> = Some(Scope::Metrics);

const NO_LEASE: &str = "the lease id was used for something else, or the lease is settled or expired";
const NOT_SERVED: &str = "only to another replica that asks: this one does not serve the lease";
const UNKNOWN_KEY: &str = "no limit has this key";
const DENIED: &str = "a limit denies; `Retry-After` tells when to repeat, if a wait helps";
const NOT_CHANGED: &str = "the change contradicts the limit as it is";
const NOT_A_BUCKET: &str = "the limit is not a bucket, or the id was used for something else";

/// Every operation of the API.
pub(super) fn operations() -> Vec<Operation> {
    [health(), leases(), checks(), objects(), limits()].into_iter().flatten().collect()
}

fn health() -> Vec<Operation> {
    let ok = json!({ "ok": true });
    vec![
        Operation::new("get", "/healthz", None, "healthz", "Whether the process lives")
            .ok::<Ready>(ok.clone()),
        Operation::new("get", "/readyz", None, "readyz", "Whether requests can be answered")
            .ok::<Ready>(ok)
            .failure::<ErrorBody>(503, "the service is not ready"),
        Operation::new("get", "/openapi.json", None, "openapi", "This document").ok_text("the document"),
        Operation::new("get", "/metrics", METRICS, "metrics", "Metrics in the OpenMetrics text format")
            .ok_text("the metrics"),
    ]
}

fn leases() -> Vec<Operation> {
    let reserve =
        json!({ "lease_id": LEASE, "job_id": "job-1", "requirements": [{ "key": KEY, "amount": 1200 }] });
    let extend = json!({
        "lease_id": LEASE, "extend_id": "01ARZ3NDEKTSV4RRFFQ69G5FAX", "key": KEY, "amount": 100,
    });
    let renew = json!({ "lease_id": LEASE, "renew_id": "01ARZ3NDEKTSV4RRFFQ69G5FAY" });
    let complete = json!({ "lease_id": LEASE, "actuals": [{ "key": KEY, "actual_amount": 870 }] });
    let (batch, results) =
        (|item: &Value| json!({ "requests": [item] }), |item: &Value| json!({ "results": [item] }));
    let reserves = Type::list_of::<ReserveBody>("ReserveBatchBody", "requests", true);
    let reserved = Type::list_of::<ReserveAnswer>("ReserveBatchAnswer", "results", false);
    let completes = Type::list_of::<CompleteBody>("CompleteBatchBody", "requests", true);
    let completed = Type::list_of::<CompleteAnswer>("CompleteBatchAnswer", "results", false);
    let settled = json!({ "ok": true, "error": "" });
    vec![
        post("/v1/reserve", RESERVE, "reserve", "Reserves everything that a call needs, or nothing")
            .query::<ReserveQuery>()
            .body::<ReserveBody>(reserve.clone())
            .ok::<ReserveAnswer>(granted())
            .failure::<ReserveAnswer>(404, UNKNOWN_KEY)
            .failure::<ReserveAnswer>(429, DENIED)
            .failure::<ReserveAnswer>(409, NO_LEASE)
            .unknown(Type::of::<ReserveAnswer>()),
        post("/v1/reserve/batch", RESERVE, "reserveBatch", "Several reserves, each by itself")
            .typed_body(reserves, batch(&reserve))
            .ok_typed(vec![reserved.clone()], results(&granted()))
            .unknown(reserved),
        post("/v1/extend", RESERVE, "extend", "Reserves more of a limit for a running lease")
            .body::<ExtendBody>(extend)
            .ok::<ReserveAnswer>(granted())
            .failure::<ReserveAnswer>(409, NO_LEASE)
            .error(404, NOT_SERVED)
            .unknown(Type::of::<ReserveAnswer>()),
        post("/v1/renew", RESERVE, "renew", "Begins the timeouts of a running lease's slots anew")
            .body::<RenewBody>(renew)
            .ok::<ReserveAnswer>(granted())
            .failure::<ReserveAnswer>(409, NO_LEASE)
            .error(404, NOT_SERVED)
            .unknown(Type::of::<ReserveAnswer>()),
        post("/v1/complete", RESERVE, "complete", "Settles a lease")
            .body::<CompleteBody>(complete.clone())
            .ok::<CompleteAnswer>(settled.clone())
            .error(404, NOT_SERVED)
            .unknown(Type::of::<CompleteAnswer>()),
        post("/v1/complete/batch", RESERVE, "completeBatch", "Several completes, each by itself")
            .typed_body(completes, batch(&complete))
            .ok_typed(vec![completed.clone()], results(&settled))
            .unknown(completed),
    ]
}

/// Every other method does the same.
fn checks() -> Vec<Operation> {
    let check = |operation: Operation| {
        operation
            .query::<CheckFields>()
            .ok::<ReserveAnswer>(granted())
            .either::<ReserveAnswer, ErrorBody>(
                403,
                "a limit denies and the query wants this status, or as elsewhere",
            )
            .failure::<ReserveAnswer>(404, UNKNOWN_KEY)
            .failure::<ReserveAnswer>(429, DENIED)
            .with_problems()
    };
    let (path, summary) =
        ("/v1/check/{key}", "Takes an amount of one limit for good; tells what is left in headers");
    vec![check(get(path, RESERVE, "checkByGet", summary)), check(post(path, RESERVE, "check", summary))]
}

fn objects() -> Vec<Operation> {
    let path = "/v1/objects/{key}/try_reserve";
    vec![
        post(path, RESERVE, "tryReserveTokens", "Takes tokens that are available now")
            .body::<ObjectReserveBody>(json!({ "tokens": 1 }))
            .ok::<ObjectTryAnswer>(json!({ "ok": true, "lease_id": LEASE }))
            .of_bucket(),
        post("/v1/objects/{key}/reserve", RESERVE, "reserveTokens", "Takes tokens now or ahead of time")
            .body::<ObjectReserveAheadBody>(json!({ "tokens": 1, "max_wait_ms": 500 }))
            .ok::<ObjectReserveAnswer>(json!({
                "ok": true, "tokens": 1, "creation_date": 1_767_225_600_000u64,
                "date_to_act": 1_767_225_600_100u64, "limit": 10.0, "lease_id": LEASE,
            }))
            .of_bucket(),
        post(
            "/v1/objects/{key}/cancel",
            RESERVE,
            "cancelTokens",
            "Cancels a reservation that may not act yet",
        )
        .body::<ObjectCancelBody>(json!({ "lease_id": LEASE }))
        .ok::<ObjectCancelAnswer>(json!({ "ok": true }))
        .of_bucket(),
        post("/v1/objects/{key}/release", RESERVE, "releaseTokens", "Puts tokens into a bucket")
            .body::<ObjectReleaseBody>(json!({ "tokens": 1 }))
            .ok::<ObjectReleaseAnswer>(json!({ "ok": true, "available_permits": 10 }))
            .of_bucket(),
        get("/v1/objects/{key}/available_permits", READ, "availablePermits", "The tokens available now")
            .ok::<ObjectPermitsAnswer>(json!({ "available_permits": 10 }))
            .of_bucket(),
        get("/v1/objects/{key}/state", READ, "bucketState", "The state of a bucket")
            .ok::<ObjectStateAnswer>(json!({
                "limit": 10.0, "burst": 20, "tokens": -3, "last": 1_767_225_600_000u64,
                "last_event": 1_767_225_600_300u64,
            }))
            .of_bucket(),
        put(
            "/v1/objects/{key}/rate",
            ADMIN,
            "setRate",
            "Sets rate and burst of a bucket, and creates it if it is missing",
        )
        .body::<ObjectRateBody>(json!({ "limit": 10.0, "burst": 20 }))
        .ok::<ChangeAnswer>(changed())
        .of_bucket(),
    ]
}

fn limits() -> Vec<Operation> {
    let definition =
        json!({ "key": KEY, "kind": "rolling", "capacity": 1_000_000, "window_seconds": 86_400 });
    let info = json!({
        "definition": definition, "status": "active", "pending_decrease_to": 0,
        "usage": { "available": 998_800, "reserved": 1_200, "debt": 0 }, "version": 1,
    });
    let version = json!({
        "version": 1, "at_unix_ms": 1_767_225_600_000u64, "status": "active", "definition": definition,
        "pending_decrease_to": 0,
    });
    let limit = json!({ "limit": info });
    let replica = json!({
        "url": "http://10.0.0.1:8080", "since_unix_ms": 1_767_225_600_000u64,
        "renewed_unix_ms": 1_767_225_605_000u64, "version": "0.1.0",
    });
    let denied = json!({ "key": KEY, "total": 3, "per_minute": [3] });
    let history = vec![Type::of::<HistoryAnswer>(), Type::of::<LimitAnswer>()];
    vec![
        get(
            "/v1/admin/limits",
            READ,
            "listLimits",
            "A page of limits and templates, or of a template's instances",
        )
        .query::<ListQuery>()
        .ok::<LimitsAnswer>(json!({ "limits": [info], "next_after": "" }))
        .error(404, UNKNOWN_KEY),
        get("/v1/admin/denials", READ, "listDenials", "How often limits denied, as this replica saw it")
            .query::<DenialsQuery>()
            .ok::<DenialsAnswer>(
                json!({ "from_unix_ms": 1_767_225_600_000u64, "minutes": 1, "limits": [denied] }),
            ),
        get("/v1/admin/replicas", ADMIN, "listReplicas", "The replicas that announce themselves")
            .ok::<ReplicasAnswer>(json!({ "replicas": [replica] })),
        put("/v1/admin/limits", ADMIN, "putLimit", "Creates or changes a limit")
            .query::<ChangeQuery>()
            .body::<DefinitionJson>(definition)
            .ok::<ChangeAnswer>(changed())
            .error(409, NOT_CHANGED),
        get("/v1/admin/limits/{name}", READ, "getLimit", "One limit with its usage")
            .ok::<LimitAnswer>(limit)
            .error(404, UNKNOWN_KEY),
        delete(
            "/v1/admin/limits/{name}",
            ADMIN,
            "deleteLimit",
            "Deletes a limit, for good if asked to purge",
        )
        .query::<DeleteQuery>()
        .ok::<DeleteAnswer>(json!({ "ok": true }))
        .error(404, UNKNOWN_KEY)
        .error(409, NOT_CHANGED),
        get(
            "/v1/admin/limits/{name}/history",
            READ,
            "limitHistory",
            "The versions of a limit, or a limit whose key ends so",
        )
        .ok_typed(history, json!({ "versions": [version] }))
        .error(404, UNKNOWN_KEY),
        post("/v1/admin/limits/{name}/replenish", ADMIN, "replenish", "Refills a bucket by hand")
            .optional_body::<ReplenishBody>(json!({ "replenish_id": LEASE }))
            .ok::<ReplenishAnswer>(json!({ "ok": true, "replenished": true }))
            .error(404, UNKNOWN_KEY)
            .error(409, NOT_CHANGED),
        post(
            "/v1/admin/limits/{name}/reset",
            ADMIN,
            "resetLimit",
            "Sets the usage and the debt of a limit to zero",
        )
        .optional_body::<ResetBody>(json!({}))
        .ok::<ChangeAnswer>(changed())
        .error(404, UNKNOWN_KEY)
        .error(409, NOT_CHANGED),
    ]
}

impl Operation {
    /// What every operation on a bucket may answer.
    fn of_bucket(self) -> Self {
        self.error(404, UNKNOWN_KEY).error(409, NOT_A_BUCKET)
    }
}

fn granted() -> Value {
    json!({ "allowed": true, "retry_after_ms": 0, "reserved_at_unix_ms": 1_767_225_600_000u64, "error": "" })
}

fn changed() -> Value {
    json!({ "ok": true, "status": "active" })
}

fn get(path: &'static str, scope: Option<Scope>, id: &'static str, summary: &'static str) -> Operation {
    Operation::new("get", path, scope, id, summary)
}

fn post(path: &'static str, scope: Option<Scope>, id: &'static str, summary: &'static str) -> Operation {
    Operation::new("post", path, scope, id, summary)
}

fn put(path: &'static str, scope: Option<Scope>, id: &'static str, summary: &'static str) -> Operation {
    Operation::new("put", path, scope, id, summary)
}

fn delete(path: &'static str, scope: Option<Scope>, id: &'static str, summary: &'static str) -> Operation {
    Operation::new("delete", path, scope, id, summary)
}
