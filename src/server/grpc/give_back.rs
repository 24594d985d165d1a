//! Gives hits back to limits, up to their capacity.
//!
//! A token bucket takes tokens back from anybody. In every other kind, what is spent belongs to a reservation, which a
//! complete releases; without its id nobody can tell what to release.

use tonic::Status;

use super::charge::{Charged, Denial};
use super::counts::Outcome;
use super::plan::{Charge, Plan};
use super::refuse::refusal;
use crate::ledger::Ledger;
use crate::limit::{Kind, KindName, ReleaseId};
use crate::limiter::ObjectError;
use crate::protocol::RetryAfterSource;
use crate::server::api::{Api, Reject};

/// Gives back what the charges of a plan name, each by itself. Before the first, it checks that all limits can take it.
///
/// # Errors
///
/// A limit is not a bucket, and then nothing is given back. Or the ledger does not answer: the charges before may be given back.
pub(super) async fn give_back<L: Ledger>(api: &Api<L>, plan: &Plan) -> Result<Charged, Status> {
    let mut charged = Charged::default();
    let mut known = Vec::with_capacity(plan.charges.len());
    for charge in &plan.charges {
        match bucket(api, charge).await? {
            true => known.push(charge),
            false if charge.enforce => charged.denial = Some(no_limit(charge)),
            false => charged.would_deny.push(charge.requirement.key.clone()),
        }
    }
    for charge in known {
        let (key, amount) = (&charge.requirement.key, charge.requirement.amount);
        let object = api.engine.limiter().object(key);
        match api.in_time(object.release(amount, ReleaseId::generate())).await {
            // A limit that its template has not made is full.
            Ok(_) | Err(Reject::Object(ObjectError::UnknownKey(_))) => {}
            Err(reject) => return Err(refusal(&reject)),
        }
    }
    Ok(charged)
}

/// Whether the limit exists; an error if it is not a bucket.
async fn bucket<L: Ledger>(api: &Api<L>, charge: &Charge) -> Result<bool, Status> {
    let key = &charge.requirement.key;
    let kind = api.in_time(api.engine.limiter().kind_of(key)).await.map_err(|reject| refusal(&reject))?;
    let kind = match kind {
        None => return Ok(false),
        Some(Kind::TokenBucket(_)) => return Ok(true),
        Some(
            kind @ (Kind::Rolling(_)
            | Kind::Concurrency(_)
            | Kind::FixedWindow(_)
            | Kind::SlidingWindow(_)
            | Kind::Calendar(_)),
        ) => kind.name(),
    };
    let (kind, bucket) = (kind.as_str(), KindName::TokenBucket.as_str());
    Err(Status::unimplemented(format!(
        "is_negative_hits: limit {key} is of kind {kind}; only a limit of kind {bucket} takes hits back. Reserve an estimate and \
         commit what was used (Kuadrant's Reserve and Commit), which releases the rest in every kind"
    )))
}

fn no_limit(charge: &Charge) -> Denial {
    Denial {
        key: charge.requirement.key.clone(),
        retry_after_ms: 0,
        retry_after_source: RetryAfterSource::Estimate,
        outcome: Outcome::NoLimit,
    }
}
