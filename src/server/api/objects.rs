//! `/v1/objects/{key}/...`: a token bucket as an object per key.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::admin::KeyPath;
use super::json::{Body, answer, parse};
use super::reject::Reject;
use super::{Api, record};
use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::limit::json::StatusJson;
use crate::protocol::{
    ChangeAnswer, ObjectCancelAnswer, ObjectCancelBody, ObjectPermitsAnswer, ObjectRateBody,
    ObjectReleaseAnswer, ObjectReleaseBody, ObjectReserveAnswer, ObjectReserveBody, ObjectStateAnswer,
    ObjectTryAnswer,
};
use crate::server::metrics::Route;

/// The operations on an object: the last segment of the path. The key before it may hold slashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    TryReserve,
    Reserve,
    Cancel,
    Release,
    AvailablePermits,
    Rate,
    State,
}

impl Action {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "try_reserve" => Self::TryReserve,
            "reserve" => Self::Reserve,
            "cancel" => Self::Cancel,
            "release" => Self::Release,
            "available_permits" => Self::AvailablePermits,
            "rate" => Self::Rate,
            "state" => Self::State,
            _ => return None,
        })
    }
}

/// `POST /v1/objects/{key}/...`
pub(super) async fn post<L: Ledger>(
    State(api): State<Arc<Api<L>>>,
    path: KeyPath,
    body: Body,
) -> Result<Response, Reject> {
    let _in_flight = api.metrics.request(Route::Objects);
    let (key, action) = key_and_action(path)?;
    match action {
        Action::TryReserve => api.try_reserve(&key, body).await,
        Action::Reserve => api.reserve_ahead(&key, body).await,
        Action::Cancel => api.cancel(&key, body).await,
        Action::Release => api.release(&key, body).await,
        Action::AvailablePermits | Action::Rate | Action::State => Err(Reject::WrongMethod),
    }
}

/// `GET /v1/objects/{key}/...`
pub(super) async fn get<L: Ledger>(
    State(api): State<Arc<Api<L>>>,
    path: KeyPath,
) -> Result<Response, Reject> {
    let _in_flight = api.metrics.request(Route::Objects);
    let (key, action) = key_and_action(path)?;
    let object = api.engine.limiter().object(&key);
    match action {
        Action::AvailablePermits => {
            let available_permits = api.in_time(object.available_permits()).await?;
            Ok(answer(StatusCode::OK, ObjectPermitsAnswer { available_permits }))
        }
        Action::State => {
            let state = api.in_time(object.state()).await?;
            Ok(answer(StatusCode::OK, ObjectStateAnswer::from(state)))
        }
        Action::TryReserve | Action::Reserve | Action::Cancel | Action::Release | Action::Rate => {
            Err(Reject::WrongMethod)
        }
    }
}

/// `PUT /v1/objects/{key}/rate`
pub(super) async fn put<L: Ledger>(
    State(api): State<Arc<Api<L>>>,
    path: KeyPath,
    body: Body,
) -> Result<Response, Reject> {
    let _in_flight = api.metrics.request(Route::Objects);
    let (key, action) = key_and_action(path)?;
    if action != Action::Rate {
        return Err(Reject::WrongMethod);
    }
    let body: ObjectRateBody = parse(body)?;
    let (rate, burst) = body.into_parts().map_err(Reject::Invalid)?;
    let (status, _) = StatusJson::of(api.in_time(api.engine.admin().set_rate(&key, rate, burst)).await?);
    Ok(answer(StatusCode::OK, ChangeAnswer { ok: true, status }))
}

fn key_and_action(path: KeyPath) -> Result<(LimitKey, Action), Reject> {
    let path = path?.0;
    let (key, action) = path.rsplit_once('/').ok_or(Reject::NoRoute)?;
    let action = Action::parse(action).ok_or(Reject::NoRoute)?;
    let key = LimitKey::parse(key).map_err(|error| Reject::Invalid(format!("key {error}")))?;
    Ok((key, action))
}

impl<L: Ledger> Api<L> {
    async fn try_reserve(&self, key: &LimitKey, body: Body) -> Result<Response, Reject> {
        let body: ObjectReserveBody = parse(body)?;
        let (tokens, lease) = body.into_parts().map_err(Reject::Invalid)?;
        let ok = self.in_time(self.engine.limiter().object(key).try_reserve(tokens, lease)).await?;
        record(lease, "", std::iter::once(key), &ok);
        Ok(answer(StatusCode::OK, ObjectTryAnswer { ok, lease_id: lease.to_string() }))
    }

    async fn reserve_ahead(&self, key: &LimitKey, body: Body) -> Result<Response, Reject> {
        let body: ObjectReserveBody = parse(body)?;
        let (tokens, lease) = body.into_parts().map_err(Reject::Invalid)?;
        let reservation = self.in_time(self.engine.limiter().object(key).reserve(tokens, lease)).await?;
        record(lease, "", std::iter::once(key), &reservation);
        Ok(answer(StatusCode::OK, ObjectReserveAnswer::new(reservation, lease)))
    }

    async fn cancel(&self, key: &LimitKey, body: Body) -> Result<Response, Reject> {
        let body: ObjectCancelBody = parse(body)?;
        let lease = body.into_lease().map_err(Reject::Invalid)?;
        let ok = self.in_time(self.engine.limiter().object(key).cancel(lease)).await?;
        record(lease, "", std::iter::once(key), &ok);
        Ok(answer(StatusCode::OK, ObjectCancelAnswer { ok }))
    }

    async fn release(&self, key: &LimitKey, body: Body) -> Result<Response, Reject> {
        let body: ObjectReleaseBody = parse(body)?;
        let (tokens, release) = body.into_parts().map_err(Reject::Invalid)?;
        let available_permits =
            self.in_time(self.engine.limiter().object(key).release(tokens, release)).await?;
        Ok(answer(StatusCode::OK, ObjectReleaseAnswer { ok: true, available_permits }))
    }
}
