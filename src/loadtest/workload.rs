//! The limits that the calls reserve on, and the bodies of the calls, joined from parts that were written beforehand.

use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use ledger_limiter::limit::json::DefinitionJson;
use ledger_limiter::limit::{
    AllotmentPeriod, Amount, AmountError, Definition, DefinitionError, Kind, KindName, LeaseId, LimitKey,
    Overage,
};
use rand::Rng;
use ulid::Ulid;

use crate::settings::{Complete, Delegate, Order, Shape, WorkloadSettings};
use crate::target::Item;

/// The limits, and which of them a reserve names.
#[derive(Debug)]
pub(crate) struct Workload {
    limits: Vec<Limit>,
    /// The number of limits in a reserve. They follow each other in `limits`.
    requirements: usize,
    /// The first limit of a reserve is a multiple of this.
    stride: usize,
    order: Order,
}

/// A limit, the amount that a reserve takes of it, and the actual amount that a complete names.
#[derive(Debug)]
pub(crate) struct Limit {
    pub(crate) definition: Definition,
    pub(crate) body: DefinitionJson,
    pub(crate) amount: Amount,
    pub(crate) actual_amount: u64,
    requirement: String,
    actual: String,
}

/// Why the limits of the settings are not valid.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkloadError {
    #[error("the limits cannot be defined")]
    Definition(#[from] DefinitionError),
    #[error("the amount cannot be reserved")]
    Amount(#[from] AmountError),
}

/// The period of allotments, in milliseconds.
const ALLOTMENT_PERIOD_MS: u64 = 1_000;
/// The limit of an LLM call that each tenant has for itself.
const OF_TENANT: &str = "daily_tokens";

/// The limits of one LLM call, and which of them count tokens.
const LLM: [(&str, KindName, bool); 4] = [
    ("rpm", KindName::Rolling, false),
    ("tpm", KindName::Rolling, true),
    ("concurrency", KindName::Concurrency, false),
    (OF_TENANT, KindName::Rolling, true),
];

impl Workload {
    pub(crate) fn new(settings: &WorkloadSettings) -> Result<Self, WorkloadError> {
        let (requirements, stride) = match settings.shape {
            Shape::Rolling { requirements } => (requirements, 1),
            Shape::Llm => (LLM.len(), LLM.len()),
        };
        let limits =
            (0..settings.limits).flat_map(|index| limits(settings, index)).collect::<Result<_, _>>()?;
        Ok(Self { limits, requirements, stride, order: settings.order })
    }

    /// Every limit that calls may name.
    pub(crate) fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// The `nth` item of a caller, with a new lease.
    pub(crate) fn item(&self, nth: usize) -> Item {
        let firsts = self.limits.len() / self.stride;
        let first_limit = match self.order {
            Order::Random => rand::rng().random_range(0..firsts),
            Order::RoundRobin => nth % firsts,
        };
        Item { lease: new_lease(), first_limit: first_limit * self.stride }
    }

    /// The limits that an item names.
    pub(crate) fn limits_of(&self, item: Item) -> impl Iterator<Item = &Limit> {
        self.limits.iter().cycle().skip(item.first_limit).take(self.requirements)
    }

    /// The body of a reserve. Several items become a batch.
    pub(crate) fn reserve_body(&self, body: &mut BytesMut, items: &[Item]) -> Bytes {
        self.body(body, items, "requirements", |limit| &limit.requirement)
    }

    /// The body of a complete. Several items become a batch.
    pub(crate) fn complete_body(&self, body: &mut BytesMut, items: &[Item]) -> Bytes {
        self.body(body, items, "actuals", |limit| &limit.actual)
    }

    fn body(&self, body: &mut BytesMut, items: &[Item], list: &str, part: fn(&Limit) -> &String) -> Bytes {
        let write_item = |body: &mut BytesMut, item: &Item| {
            // Writing to a buffer in memory does not fail.
            write!(body, "{{\"lease_id\":\"{}\",\"{list}\":[", item.lease).ok();
            write_separated(body, self.limits_of(*item), |body, limit| {
                body.extend_from_slice(part(limit).as_bytes());
            });
            body.extend_from_slice(b"]}");
        };
        if let [item] = items {
            write_item(body, item);
        } else {
            body.extend_from_slice(b"{\"requests\":[");
            write_separated(body, items.iter(), write_item);
            body.extend_from_slice(b"]}");
        }
        body.split().freeze()
    }
}

/// A new lease.
pub(crate) fn new_lease() -> LeaseId {
    loop {
        // Only the ULID of zeros is refused.
        if let Ok(lease) = LeaseId::from_ulid(Ulid::generate()) {
            return lease;
        }
    }
}

fn write_separated<T>(body: &mut BytesMut, items: impl Iterator<Item = T>, write: impl Fn(&mut BytesMut, T)) {
    for (index, item) in items.enumerate() {
        if index > 0 {
            body.extend_from_slice(b",");
        }
        write(body, item);
    }
}

fn limits(settings: &WorkloadSettings, index: usize) -> Vec<Result<Limit, WorkloadError>> {
    match settings.shape {
        Shape::Rolling { .. } => {
            vec![Limit::new(
                settings,
                &format!("{}:{index}", settings.prefix),
                KindName::Rolling,
                settings.amount,
                settings.delegate != Delegate::None,
            )]
        }
        Shape::Llm => LLM
            .iter()
            .map(|(name, kind, tokens)| {
                let amount = if *tokens { settings.amount } else { 1 };
                let is_delegated = match settings.delegate {
                    Delegate::None => false,
                    Delegate::Shared => *name != OF_TENANT,
                    Delegate::All => true,
                };
                let key = format!("{}:llm:{index}:{name}", settings.prefix);
                Limit::new(settings, &key, *kind, amount, is_delegated)
            })
            .collect(),
    }
}

impl Limit {
    fn new(
        settings: &WorkloadSettings,
        key: &str,
        kind: KindName,
        amount: u64,
        is_delegated: bool,
    ) -> Result<Self, WorkloadError> {
        let slots = kind == KindName::Concurrency;
        let (window_seconds, timeout_seconds) =
            if slots { (0, settings.window_seconds) } else { (settings.window_seconds, 0) };
        let shrinks = settings.complete == Complete::Below && !slots;
        let actual_amount = if shrinks { amount.div_ceil(2) } else { amount };
        let requirement = format!("{{\"key\":\"{key}\",\"amount\":{amount}}}");
        let actual = format!("{{\"key\":\"{key}\",\"actual_amount\":{actual_amount}}}");
        let definition = Definition::new(
            LimitKey::parse(key).map_err(DefinitionError::Key)?,
            Kind::new(kind, window_seconds, timeout_seconds)?,
            Amount::new(settings.capacity).map_err(DefinitionError::Capacity)?,
            "",
            "made by ratelimiter-loadtest",
            Overage::Debt,
        )?;
        let definition = match is_delegated {
            true => definition.with_allotment(AllotmentPeriod::new(ALLOTMENT_PERIOD_MS)?)?,
            false => definition,
        };
        let body = DefinitionJson::from(&definition);
        Ok(Self { definition, body, amount: Amount::new(amount)?, actual_amount, requirement, actual })
    }
}

#[cfg(test)]
mod tests {
    use ledger_limiter::protocol::{BatchBody, CompleteBody, ReserveBody};

    use super::*;

    fn settings(shape: Shape, complete: Complete) -> WorkloadSettings {
        WorkloadSettings {
            prefix: "loadtest".to_owned(),
            limits: 3,
            shape,
            amount: 1_000,
            capacity: 5_000,
            window_seconds: 60,
            delegate: Delegate::Shared,
            complete,
            order: Order::RoundRobin,
        }
    }

    #[test]
    fn the_service_reads_each_body() {
        let workload =
            Workload::new(&settings(Shape::Rolling { requirements: 2 }, Complete::Below)).expect("valid");
        let items = [workload.item(2), workload.item(3)];
        let mut buffer = BytesMut::new();
        let body: ReserveBody =
            serde_json::from_slice(&workload.reserve_body(&mut buffer, &items[..1])).expect("a reserve");
        let keys: Vec<_> = body.requirements.iter().map(|requirement| requirement.key.as_str()).collect();
        assert_eq!(keys, ["loadtest:2", "loadtest:0"], "the first limit follows the last");
        body.into_command().expect("a valid reserve");
        let body = workload.complete_body(&mut buffer, &items);
        let batch: BatchBody<'_> = serde_json::from_slice(&body).expect("a batch");
        let completes: Vec<CompleteBody> =
            batch.requests.iter().map(|item| serde_json::from_str(item.get()).expect("a complete")).collect();
        assert_eq!(completes[1].lease_id, items[1].lease.to_string());
        assert_eq!(completes[1].actuals[0].actual_amount, 500);
    }

    #[test]
    fn an_llm_call_takes_a_request_a_slot_and_tokens() {
        let workload = Workload::new(&settings(Shape::Llm, Complete::Below)).expect("valid");
        let item = workload.item(4);
        let requirements: Vec<_> = workload
            .limits_of(item)
            .map(|limit| (limit.body.key.as_str(), limit.amount.get(), limit.actual_amount))
            .collect();
        assert_eq!(
            requirements,
            [
                ("loadtest:llm:1:rpm", 1, 1),
                ("loadtest:llm:1:tpm", 1_000, 500),
                ("loadtest:llm:1:concurrency", 1, 1),
                ("loadtest:llm:1:daily_tokens", 1_000, 500),
            ]
        );
        assert_eq!(workload.limits().len(), 12);
        let delegated: Vec<_> =
            workload.limits_of(item).map(|limit| limit.body.allotment.is_some()).collect();
        assert_eq!(delegated, [true, true, true, false], "the daily tokens are those of one tenant");
    }
}
