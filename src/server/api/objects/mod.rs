//! `/v1/objects/{key}/{action}`: one token bucket as one object. The method and the action select the endpoint.

mod available_permits;
mod cancel;
mod rate;
mod release;
mod reserve;
mod state;
mod try_reserve;

use axum::response::Response;

use super::guard::{Authorized, ToAdminister, ToRead, ToReserve};
use super::json::Body;
use super::path::{KeyPath, parse_key};
use super::reject::Reject;
use crate::ledger::Ledger;
use crate::limit::LimitKey;
use crate::server::metrics::Route;

/// The last segment of the path; the key before it may hold slashes.
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
    fn parse(segment: &str) -> Option<Self> {
        Some(match segment {
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

    fn wrong_method(self) -> Reject {
        let methods = match self {
            Self::TryReserve | Self::Reserve | Self::Cancel | Self::Release => "POST",
            Self::AvailablePermits | Self::State => "GET, HEAD",
            Self::Rate => "PUT",
        };
        Reject::WrongMethod { allow: Some(methods) }
    }
}

pub(super) async fn post<L: Ledger>(
    authorized: Authorized<L, ToReserve>,
    path: KeyPath,
    body: Body,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Objects);
    let (key, action) = key_and_action(path)?;
    authorized.check_keys([&key])?;
    match action {
        Action::TryReserve => try_reserve::try_reserve(api, &key, body).await,
        Action::Reserve => reserve::reserve(api, &key, body).await,
        Action::Cancel => cancel::cancel(api, &key, body).await,
        Action::Release => release::release(api, &key, body).await,
        Action::AvailablePermits | Action::Rate | Action::State => Err(action.wrong_method()),
    }
}

pub(super) async fn get<L: Ledger>(
    authorized: Authorized<L, ToRead>,
    path: KeyPath,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Objects);
    let (key, action) = key_and_action(path)?;
    authorized.check_keys([&key])?;
    match action {
        Action::AvailablePermits => available_permits::available_permits(api, &key).await,
        Action::State => state::state(api, &key).await,
        Action::TryReserve | Action::Reserve | Action::Cancel | Action::Release | Action::Rate => {
            Err(action.wrong_method())
        }
    }
}

pub(super) async fn put<L: Ledger>(
    authorized: Authorized<L, ToAdminister>,
    path: KeyPath,
    body: Body,
) -> Result<Response, Reject> {
    let api = authorized.api();
    let _in_flight = api.metrics.request(Route::Objects);
    let (key, action) = key_and_action(path)?;
    match action {
        Action::Rate => rate::rate(&authorized, &key, body).await,
        Action::TryReserve
        | Action::Reserve
        | Action::Cancel
        | Action::Release
        | Action::AvailablePermits
        | Action::State => Err(action.wrong_method()),
    }
}

/// Another method than those of the objects' paths.
pub(super) async fn wrong_method(path: KeyPath) -> Reject {
    key_and_action(path).map_or_else(|reject| reject, |(_, action)| action.wrong_method())
}

fn key_and_action(path: KeyPath) -> Result<(LimitKey, Action), Reject> {
    let path = path?.0;
    let (key, action) = path.rsplit_once('/').ok_or(Reject::NoRoute)?;
    let action = Action::parse(action).ok_or(Reject::NoRoute)?;
    Ok((parse_key(key)?, action))
}
