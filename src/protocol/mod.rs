//! The operations of the limiter, each with its command, its outcome, and the JSON of both.
//!
//! | module | operation |
//! | --- | --- |
//! | [`reserve`] | reserve for a lease |
//! | [`reserve_command`] | take, take in any case, or only look |
//! | [`wait`] | how long a reserve waits for room |
//! | [`retry_after`] | whether the hint of a denial is exact |
//! | [`report`] | what is left of limits, in an answer |
//! | [`complete`] | settle a lease |
//! | [`extend`] | reserve more for a running lease |
//! | [`renew`] | hold the slots of a running lease for longer |
//! | [`object`] | a token bucket as an object per key |
//! | [`batch`] | several reserves or completes in one request |
//! | [`admin`] | create, change, delete and list limits |
//! | [`replica`] | the replicas over one ledger |
//! | [`error`] | names of errors, and why a command or an answer is malformed |
//!
//! A request is parsed into a *body*, which serde reads, and then into a *command*, which is always valid. An *outcome* is
//! written as an *answer*. Server and client library share these types, so one side reads what the other writes.

pub mod admin;
pub mod batch;
pub mod complete;
pub mod error;
pub mod extend;
pub mod object;
pub mod renew;
pub mod replica;
pub mod report;
pub mod reserve;
pub mod reserve_command;
pub mod retry_after;
pub mod wait;

pub use admin::{
    ChangeAnswer, ChangeQuery, DeleteAnswer, DeleteQuery, DenialsAnswer, DenialsQuery, DeniedBody,
    HistoryAnswer, LimitAnswer, LimitInfo, LimitsAnswer, ListQuery, ReplenishAnswer, ReplenishBody,
    ResetBody, UsageBody, VersionBody,
};
pub use batch::{BatchAnswer, BatchBody};
pub use complete::{
    Actual, ActualBody, Complete, CompleteAnswer, CompleteBody, CompleteOutcome, UnreservedOverage,
};
pub use error::{
    AnswerError, BACKEND_ERROR, CommandError, ErrorBody, FORBIDDEN, INVALID_REQUEST, JOB_ID_BYTES_MAX,
    LEASE_CONFLICT, LEASE_EXPIRED, LEASE_SETTLED, TOO_MANY_INSTANCES, UNAUTHORIZED, UNKNOWN_LIMIT_KEY,
    VERSION_CONFLICT,
};
pub use extend::{EXTENDS_MAX, Extend, ExtendBody, ExtendOutcome};
pub use object::{
    ObjectCancelAnswer, ObjectCancelBody, ObjectPermitsAnswer, ObjectRateBody, ObjectReleaseAnswer,
    ObjectReleaseBody, ObjectReservation, ObjectReserveAheadBody, ObjectReserveAnswer, ObjectReserveBody,
    ObjectState, ObjectStateAnswer, ObjectTryAnswer,
};
pub use renew::{Renew, RenewBody, RenewOutcome};
pub use replica::{ReplicaBody, ReplicasAnswer};
pub use report::LimitReport;
pub use reserve::{
    REQUIREMENTS_MAX, Requirement, RequirementBody, Reserve, ReserveAnswer, ReserveBody, ReserveOutcome,
};
pub use reserve_command::{CommandOutcome, ReserveCommand};
pub use retry_after::RetryAfterSource;
pub use wait::{PRIORITY_DEFAULT, PRIORITY_MAX, WAIT_MS_MAX, Wait};
