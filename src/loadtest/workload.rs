//! What the calls ask for: the limits, and how the text of a request is put together from parts made beforehand.

use std::fmt::Write;

use bytes::{Bytes, BytesMut};
use ledger_limiter::limit::json::DefinitionJson;
use ledger_limiter::limit::{
    Amount, AmountError, Definition, DefinitionError, Kind, KindName, LeaseId, LimitKey, Overage,
};
use rand::Rng;
use ulid::Ulid;

use crate::settings::{Complete, Order, Shape, WorkloadSettings};
use crate::target::Ask;

/// The limits, and how many of them one reserve takes from.
#[derive(Debug)]
pub(crate) struct Workload {
    limits: Vec<Limit>,
    /// How many limits a reserve takes from, one after the other.
    requirements: usize,
    /// From one first limit to the next.
    stride: usize,
    order: Order,
}

/// A limit, what a reserve takes of it, and what is really used.
#[derive(Debug)]
pub(crate) struct Limit {
    pub(crate) definition: Definition,
    pub(crate) body: DefinitionJson,
    pub(crate) amount: Amount,
    pub(crate) actual_amount: u64,
    requirement: String,
    actual: String,
}

/// Why the settings make no limits.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkloadError {
    #[error("the limits cannot be defined")]
    Definition(#[from] DefinitionError),
    #[error("the amount cannot be reserved")]
    Amount(#[from] AmountError),
}

/// The limits of one LLM call, and which of them count tokens.
const LLM: [(&str, KindName, bool); 4] = [
    ("rpm", KindName::Rolling, false),
    ("tpm", KindName::Rolling, true),
    ("concurrency", KindName::Concurrency, false),
    ("daily_tokens", KindName::Rolling, true),
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

    /// Every limit, to be made before.
    pub(crate) fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// The `nth` ask of a caller, under a lease of its own.
    pub(crate) fn ask(&self, nth: usize) -> Ask {
        let firsts = self.limits.len() / self.stride;
        let first = match self.order {
            Order::Random => rand::rng().random_range(0..firsts),
            Order::RoundRobin => nth % firsts,
        };
        Ask { lease: new_lease(), first: first * self.stride }
    }

    /// The limits that an ask takes from.
    pub(crate) fn limits_of(&self, ask: Ask) -> impl Iterator<Item = &Limit> {
        self.limits.iter().cycle().skip(ask.first).take(self.requirements)
    }

    /// The body of a reserve; several asks are a batch.
    pub(crate) fn reserve_body(&self, body: &mut BytesMut, asks: &[Ask]) -> Bytes {
        self.body(body, asks, "requirements", |limit| &limit.requirement)
    }

    /// The body of a complete; several asks are a batch.
    pub(crate) fn complete_body(&self, body: &mut BytesMut, asks: &[Ask]) -> Bytes {
        self.body(body, asks, "actuals", |limit| &limit.actual)
    }

    fn body(&self, body: &mut BytesMut, asks: &[Ask], list: &str, part: fn(&Limit) -> &String) -> Bytes {
        let one = |body: &mut BytesMut, ask: &Ask| {
            // Writing to a buffer in memory does not fail.
            write!(body, "{{\"lease_id\":\"{}\",\"{list}\":[", ask.lease).ok();
            separated(body, self.limits_of(*ask), |body, limit| {
                body.extend_from_slice(part(limit).as_bytes());
            });
            body.extend_from_slice(b"]}");
        };
        if let [ask] = asks {
            one(body, ask);
        } else {
            body.extend_from_slice(b"{\"requests\":[");
            separated(body, asks.iter(), one);
            body.extend_from_slice(b"]}");
        }
        body.split().freeze()
    }
}

/// A lease of its own.
pub(crate) fn new_lease() -> LeaseId {
    loop {
        // The one that is refused is all zeros.
        if let Ok(lease) = LeaseId::from_ulid(Ulid::generate()) {
            return lease;
        }
    }
}

fn separated<T>(body: &mut BytesMut, items: impl Iterator<Item = T>, write: impl Fn(&mut BytesMut, T)) {
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
            )]
        }
        Shape::Llm => LLM
            .iter()
            .map(|(name, kind, tokens)| {
                let amount = if *tokens { settings.amount } else { 1 };
                Limit::new(settings, &format!("{}:llm:{index}:{name}", settings.prefix), *kind, amount)
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
            complete,
            order: Order::RoundRobin,
        }
    }

    #[test]
    fn a_body_is_what_the_service_reads() {
        let workload =
            Workload::new(&settings(Shape::Rolling { requirements: 2 }, Complete::Below)).expect("valid");
        let asks = [workload.ask(2), workload.ask(3)];
        let mut buffer = BytesMut::new();
        let body: ReserveBody =
            serde_json::from_slice(&workload.reserve_body(&mut buffer, &asks[..1])).expect("a reserve");
        let keys: Vec<_> = body.requirements.iter().map(|requirement| requirement.key.as_str()).collect();
        assert_eq!(keys, ["loadtest:2", "loadtest:0"], "the last limit is followed by the first");
        body.into_command().expect("a valid reserve");
        let body = workload.complete_body(&mut buffer, &asks);
        let batch: BatchBody<'_> = serde_json::from_slice(&body).expect("a batch");
        let completes: Vec<CompleteBody> =
            batch.requests.iter().map(|item| serde_json::from_str(item.get()).expect("a complete")).collect();
        assert_eq!(completes[1].lease_id, asks[1].lease.to_string());
        assert_eq!(completes[1].actuals[0].actual_amount, 500);
    }

    #[test]
    fn an_llm_call_takes_a_request_a_slot_and_tokens() {
        let workload = Workload::new(&settings(Shape::Llm, Complete::Below)).expect("valid");
        let ask = workload.ask(4);
        let wants: Vec<_> = workload
            .limits_of(ask)
            .map(|limit| (limit.body.key.as_str(), limit.amount.get(), limit.actual_amount))
            .collect();
        assert_eq!(
            wants,
            [
                ("loadtest:llm:1:rpm", 1, 1),
                ("loadtest:llm:1:tpm", 1_000, 500),
                ("loadtest:llm:1:concurrency", 1, 1),
                ("loadtest:llm:1:daily_tokens", 1_000, 500),
            ]
        );
        assert_eq!(workload.limits().len(), 12);
    }
}
