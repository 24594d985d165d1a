//! Hands calls about a lease on to the replica that serves it from allotments. `docs/allotments.md` has the rules.
//!
//! - At most one hop: a call that was handed on carries a header, and is answered where it arrives.
//! - Only URLs that living replicas have announced in the ledger are called, whatever the caller names.

use std::convert::Infallible;
use std::time::{Duration, SystemTime};

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use futures_util::future::join_all;
use smallvec::SmallVec;

use super::Api;
use super::reject::Reject;
use crate::ledger::Ledger;
use crate::limit::{LeaseId, LimitKey, REPLICA_URL_BYTES_MAX, ReplicaUrl};
use crate::limiter::LimiterError;
use crate::server::peers::{HOP_HEADER, PeerAnswer, PeerCall, PeerError, Reason};
use crate::telemetry::{Occurrences, with_sources};
use crate::time::unix_ms_of;

/// The oldest lease for which peers are asked. An older one needs `served_by`.
const ASKED_AGE_MS_MAX: u64 = 3_600_000;

static UNANSWERED: Occurrences = Occurrences::new();

/// How a call came here, and what it takes to hand it on.
pub(super) struct Hop {
    via: Via,
    authorization: Option<HeaderValue>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Via {
    Caller,
    Replica(Reason),
}

/// Where a call about a lease is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// Here.
    Here,
    /// Here. If the lease is unknown here, peers may know it.
    HereThenPeers,
    /// At the peer that serves the lease.
    Peer(ReplicaUrl),
}

/// What became of a call about a lease.
pub(super) enum Done<T> {
    /// It was carried out here.
    Here(T),
    /// Another replica answered.
    There(PeerAnswer),
    /// Another replica did not answer, or asked for a lease that is not served here.
    NotThere(Reject),
}

/// A call that may be handed on.
pub(super) struct LeaseCall<'a> {
    pub(super) path: &'static str,
    pub(super) lease: LeaseId,
    /// What its caller says to be the replica that serves the lease.
    pub(super) served_by: Option<&'a str>,
    /// The limits that it names.
    pub(super) keys: SmallVec<[&'a LimitKey; 4]>,
    /// Writes the body for a peer, without `served_by`. Most calls are not handed on, and need none.
    pub(super) body: &'a (dyn Fn() -> serde_json::Result<String> + Sync),
    /// How long it may wait for room.
    pub(super) wait: Duration,
}

/// What a caller says to be the replica that serves its lease, taken from a body. It need not be a URL: one that no replica has
/// announced changes nothing.
pub(super) fn take_served_by(served_by: &mut Option<String>) -> Result<Option<String>, String> {
    let is_too_long = |url: &String| url.chars().count() > REPLICA_URL_BYTES_MAX;
    match served_by.take() {
        Some(url) if is_too_long(&url) => {
            Err(format!("served_by must be at most {REPLICA_URL_BYTES_MAX} characters long"))
        }
        served_by => Ok(served_by),
    }
}

impl<S: Sync> FromRequestParts<S> for Hop {
    type Rejection = Infallible;

    async fn from_request_parts(request: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let via = match request.headers.get(HOP_HEADER).map(HeaderValue::as_bytes) {
            None => Via::Caller,
            Some(reason) if reason == Reason::Asked.as_str().as_bytes() => Via::Replica(Reason::Asked),
            Some(_) => Via::Replica(Reason::Named),
        };
        Ok(Self { via, authorization: request.headers.get(AUTHORIZATION).cloned() })
    }
}

impl<L: Ledger> Api<L> {
    /// The URL of this replica, if it serves the lease from allotments and other replicas can reach it.
    pub(super) fn served_by(&self, lease: LeaseId) -> Option<String> {
        let url = self.engine.replicas().own_url()?;
        self.engine.limiter().serves(lease).then(|| url.to_string())
    }

    /// Carries a call about a lease out where the lease is served. `here` carries it out in this process, and `is_unknown` says
    /// whether its outcome means that the lease is unknown here.
    ///
    /// # Errors
    ///
    /// Those of `here`.
    pub(super) async fn carry_out_anywhere<T, E>(
        &self,
        hop: &Hop,
        call: &LeaseCall<'_>,
        here: impl Future<Output = Result<T, E>>,
        is_unknown: impl FnOnce(&T) -> bool,
    ) -> Result<Done<T>, E> {
        let place = match self.place_of(hop, call.lease, call.served_by).await {
            Ok(place) => place,
            Err(reject) => return Ok(Done::NotThere(reject)),
        };
        if let Place::Peer(peer) = &place {
            match self.post(hop, peer, call, Reason::Named).await {
                Ok(answer) => return Ok(Done::There(answer)),
                Err(error) if self.lives(peer).await => return Ok(Done::NotThere(away(peer, &error))),
                // It stopped in order. Then this one does what can be done without it.
                Err(_) => {}
            }
        }
        let outcome = here.await?;
        if place == Place::HereThenPeers && is_unknown(&outcome) {
            match self.ask_peers(hop, call).await {
                Ok(Some(answer)) => return Ok(Done::There(answer)),
                Ok(None) => {}
                Err(reject) => return Ok(Done::NotThere(reject)),
            }
        }
        Ok(Done::Here(outcome))
    }

    /// Where a call about a lease is carried out. `served_by` is what the caller says.
    ///
    /// # Errors
    ///
    /// [`Reject::NotServedHere`] if a peer asks whether this replica serves the lease, and it does not; or the ledger does not
    /// answer.
    async fn place_of(&self, hop: &Hop, lease: LeaseId, served_by: Option<&str>) -> Result<Place, Reject> {
        let serves = self.engine.limiter().serves(lease);
        match (hop.via, served_by) {
            (Via::Replica(Reason::Asked), _) if !serves => Err(Reject::NotServedHere),
            (Via::Replica(_), _) => Ok(Place::Here),
            (Via::Caller, _) if serves => Ok(Place::Here),
            (Via::Caller, None) => Ok(Place::HereThenPeers),
            (Via::Caller, Some(url)) => {
                // A replica that does not announce itself is gone. Then this one does what can be done without it.
                Ok(self.find_peer(url).await?.map_or(Place::Here, Place::Peer))
            }
        }
    }

    async fn find_peer(&self, url: &str) -> Result<Option<ReplicaUrl>, Reject> {
        let replicas = self.engine.replicas();
        let is_own = replicas.own_url().is_some_and(|own| own.as_str() == url);
        if is_own {
            return Ok(None);
        }
        match replicas.known_peer(url) {
            Some(peer) => Ok(Some(peer)),
            None => self.in_time(async { replicas.find_peer(url).await.map_err(LimiterError::from) }).await,
        }
    }

    /// Whether a peer that gave no answer still counts as living.
    async fn lives(&self, peer: &ReplicaUrl) -> bool {
        let replicas = self.engine.replicas();
        let still_lives =
            self.in_time(async { replicas.still_lives(peer).await.map_err(LimiterError::from) });
        still_lives.await.unwrap_or(true)
    }

    /// The answer of the peer that serves a lease which is unknown here. `None` if no peer does, or if none is asked: the lease
    /// is old, or names only limits that are not delegated.
    ///
    /// # Errors
    ///
    /// [`Reject::PeerAway`]: a peer that lives does not answer, and no other serves the lease.
    async fn ask_peers(&self, hop: &Hop, call: &LeaseCall<'_>) -> Result<Option<PeerAnswer>, Reject> {
        let age_ms = unix_ms_of(SystemTime::now()).saturating_sub(call.lease.timestamp_ms());
        if age_ms > ASKED_AGE_MS_MAX || !self.may_be_delegated(&call.keys) {
            return Ok(None);
        }
        let peers = self.engine.replicas().peers();
        let ask = async |peer| (peer, self.post(hop, peer, call, Reason::Asked).await);
        let mut unanswered = None;
        for (peer, answer) in join_all(peers.iter().map(ask)).await {
            match answer {
                Ok(answer) if answer.status.is_server_error() => unanswered = Some((peer, None)),
                Ok(answer) if serves(answer.status) => return Ok(Some(answer)),
                Ok(_) => {}
                Err(error) => unanswered = Some((peer, Some(error))),
            }
        }
        match unanswered {
            Some((peer, error)) if self.lives(peer).await => {
                Err(error.map_or(Reject::PeerAway, |error| away(peer, &error)))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// Whether a call that names these limits may be about a lease in allotments.
    fn may_be_delegated(&self, keys: &[&LimitKey]) -> bool {
        let is_delegated = |key: &&LimitKey| {
            let definition = self.engine.registry().definition(key);
            definition.is_some_and(|definition| definition.allotment.is_some())
        };
        keys.is_empty() || keys.iter().any(is_delegated)
    }

    async fn post(
        &self,
        hop: &Hop,
        peer: &ReplicaUrl,
        call: &LeaseCall<'_>,
        reason: Reason,
    ) -> Result<PeerAnswer, PeerError> {
        let body = (call.body)().map_err(|error| PeerError::Body(error.into()))?;
        let call = PeerCall {
            reason,
            path: call.path,
            authorization: hop.authorization.as_ref(),
            body,
            // A batch has the whole request timeout for its items, here and there.
            timeout: self.request_timeout / 2 + call.wait,
        };
        self.peers.post(peer, call).await
    }
}

/// Whether the status of a peer that was asked says that it serves the lease. A peer that does not let the caller in, who may
/// have shown a certificate here, tells nothing.
fn serves(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED | StatusCode::MISDIRECTED_REQUEST)
}

fn away(peer: &ReplicaUrl, error: &PeerError) -> Reject {
    if let Some(times) = UNANSWERED.count() {
        tracing::warn!(times, %peer, error = with_sources(error), "a replica does not answer; the last of so many times");
    }
    Reject::PeerAway
}
