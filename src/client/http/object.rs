//! Buckets as objects, over HTTP.

use std::time::Duration;

use hyper::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answer::read_success;
use super::{Http, in_path, json};
use crate::client::{Amount, CallError, LeaseId, LimitKey, ObjectReservation, ObjectState, ObjectTransport};
use crate::limit::{Capacity, ReleaseId};
use crate::protocol::{
    ChangeAnswer, ObjectCancelAnswer, ObjectCancelBody, ObjectPermitsAnswer, ObjectRateBody,
    ObjectReleaseAnswer, ObjectReleaseBody, ObjectReserveAheadBody, ObjectReserveAnswer, ObjectReserveBody,
    ObjectStateAnswer, ObjectTryAnswer,
};
use crate::time::saturating_ms;

impl Http {
    async fn object<A: DeserializeOwned>(
        &self,
        method: Method,
        key: &LimitKey,
        action: &str,
        body: String,
    ) -> Result<A, CallError> {
        let path = format!("/v1/objects/{}/{action}", in_path(key));
        let (status, answer) = self.exchange(method, &path, body).await?;
        read_success(status, &answer)
    }

    async fn post_object<A: DeserializeOwned>(
        &self,
        key: &LimitKey,
        action: &str,
        body: &impl Serialize,
    ) -> Result<A, CallError> {
        self.object(Method::POST, key, action, json(body)?).await
    }
}

impl ObjectTransport for Http {
    async fn try_reserve(&self, key: &LimitKey, tokens: Amount, lease: LeaseId) -> Result<bool, CallError> {
        let body = ObjectReserveBody { tokens: tokens.get(), lease_id: Some(lease.to_string()) };
        let answer: ObjectTryAnswer = self.post_object(key, "try_reserve", &body).await?;
        Ok(answer.ok)
    }

    async fn reserve_ahead(
        &self,
        key: &LimitKey,
        tokens: Amount,
        lease: LeaseId,
        max_wait: Option<Duration>,
    ) -> Result<ObjectReservation, CallError> {
        let (tokens, lease_id) = (tokens.get(), Some(lease.to_string()));
        let body = ObjectReserveAheadBody { tokens, lease_id, max_wait_ms: max_wait.map(saturating_ms) };
        let answer: ObjectReserveAnswer = self.post_object(key, "reserve", &body).await?;
        Ok(ObjectReservation::of(answer.into_reservation()))
    }

    async fn cancel(&self, key: &LimitKey, lease: LeaseId) -> Result<bool, CallError> {
        let body = ObjectCancelBody { lease_id: lease.to_string() };
        let answer: ObjectCancelAnswer = self.post_object(key, "cancel", &body).await?;
        Ok(answer.ok)
    }

    async fn release(&self, key: &LimitKey, tokens: Amount, release: ReleaseId) -> Result<u64, CallError> {
        let body = ObjectReleaseBody { tokens: tokens.get(), release_id: Some(release.to_string()) };
        let answer: ObjectReleaseAnswer = self.post_object(key, "release", &body).await?;
        Ok(answer.available_permits)
    }

    async fn available_permits(&self, key: &LimitKey) -> Result<u64, CallError> {
        let action = "available_permits";
        let answer: ObjectPermitsAnswer = self.object(Method::GET, key, action, String::new()).await?;
        Ok(answer.available_permits)
    }

    async fn set_rate(
        &self,
        key: &LimitKey,
        limit: Option<f64>,
        burst: Option<Capacity>,
    ) -> Result<(), CallError> {
        let body = json(&ObjectRateBody { limit, burst: burst.map(Capacity::get) })?;
        let _: ChangeAnswer = self.object(Method::PUT, key, "rate", body).await?;
        Ok(())
    }

    async fn state(&self, key: &LimitKey) -> Result<ObjectState, CallError> {
        let answer: ObjectStateAnswer = self.object(Method::GET, key, "state", String::new()).await?;
        Ok(ObjectState::of(answer.into()))
    }
}
