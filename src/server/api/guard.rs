//! The way into the API. A handler gets the API only out of [`Authorized`], and that proves three things: the request is meant
//! for this service, its caller is known, and the caller has the scope of the handler. Handlers of health checks get
//! [`Public`], which holds nothing to protect.

use std::marker::PhantomData;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::{FromRef, FromRequestParts};
use axum::http::request::Parts;

use super::refusal::{Forbidden, Refusal};
use super::reject::Reject;
use super::{Api, Readiness};
use crate::ledger::Ledger;
use crate::limit::json::DefinitionJson;
use crate::limit::{LeaseId, LimitKey};
use crate::limiter::LimiterError;
use crate::server::audit::{AuditEntry, Peer};
use crate::server::auth::{Authenticator, Caller, Scope};
use crate::server::{AllowedHosts, AuditLog};
use crate::time::unix_ms_of;

/// What decides whether a request is let in.
pub struct Gate {
    /// Tells who makes a request.
    pub authenticator: Arc<Authenticator>,
    /// The names under which the service may be called.
    pub allowed_hosts: AllowedHosts,
    /// Tells who changed which limit.
    pub audit: AuditLog,
}

/// The state of the router. Its field is private, so no handler takes the API out of it.
pub(super) struct Guarded<L>(Arc<Api<L>>);

/// A request that is let in with the scope `S`.
pub(in crate::server) struct Authorized<L, S> {
    api: Arc<Api<L>>,
    caller: Caller,
    peer: Option<IpAddr>,
    scope: PhantomData<S>,
}

/// A request that is meant for this service, whoever makes it.
pub(super) struct Addressed;

/// What everybody may ask of the service.
pub(super) struct Public<L>(Arc<Api<L>>);

/// A [`Scope`] as a type.
pub(in crate::server) trait Required: Send + Sync + 'static {
    /// The scope.
    const SCOPE: Scope;
}

/// [`Scope::Reserve`].
pub(in crate::server) enum ToReserve {}
/// [`Scope::Read`].
pub(super) enum ToRead {}
/// [`Scope::Admin`].
pub(super) enum ToAdminister {}
/// [`Scope::Metrics`].
pub(super) enum ToReadMetrics {}

impl Required for ToReserve {
    const SCOPE: Scope = Scope::Reserve;
}

impl Required for ToRead {
    const SCOPE: Scope = Scope::Read;
}

impl Required for ToAdminister {
    const SCOPE: Scope = Scope::Admin;
}

impl Required for ToReadMetrics {
    const SCOPE: Scope = Scope::Metrics;
}

impl Gate {
    /// Lets every caller do everything, under every name.
    pub fn open() -> Self {
        Self {
            authenticator: Arc::new(Authenticator::open()),
            allowed_hosts: AllowedHosts::any(),
            audit: AuditLog::to_log(),
        }
    }

    /// Who makes a request for `scope`.
    fn admit(&self, request: &Parts, scope: Scope) -> Result<Caller, Refusal> {
        self.allowed_hosts.check(request)?;
        let caller = self.authenticator.authenticate(&request.headers, request.extensions.get())?;
        if caller.has(scope) { Ok(caller) } else { Err(Forbidden::Scope(scope).into()) }
    }
}

impl<L> Guarded<L> {
    pub(super) fn new(api: Arc<Api<L>>) -> Self {
        Self(api)
    }
}

impl<L> Clone for Guarded<L> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

#[cfg(feature = "grpc")]
impl<L> Authorized<L, ToReserve> {
    /// A request that another guard let in with the scope `reserve`.
    pub(in crate::server) fn of(api: Arc<Api<L>>, caller: Caller) -> Self {
        Self { api, caller, peer: None, scope: PhantomData }
    }
}

impl<L, S> Authorized<L, S> {
    pub(in crate::server) fn api(&self) -> &Api<L> {
        &self.api
    }

    /// Whether the caller may use a limit.
    pub(super) fn may_use(&self, key: &LimitKey) -> bool {
        self.caller.may_use(key)
    }

    /// Whether the caller may use every limit that a lease holds. `named` are keys that it may use. Only the lease of a caller
    /// that may not use all limits is looked up.
    pub(super) async fn may_use_lease<'a>(
        &self,
        lease: LeaseId,
        named: impl IntoIterator<Item = &'a LimitKey>,
    ) -> Result<bool, LimiterError>
    where
        L: Ledger,
    {
        if self.caller.may_use_all() {
            return Ok(true);
        }
        self.api.engine.limiter().lease_holds_only(lease, named, |key| self.caller.may_use(key)).await
    }

    /// Checks that the caller may use these limits.
    pub(in crate::server) fn check_keys<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a LimitKey>,
    ) -> Result<(), Forbidden> {
        let foreign = keys.into_iter().find(|key| !self.may_use(key));
        foreign.map_or(Ok(()), |key| Err(Forbidden::Key(key.clone())))
    }
}

impl<L: Ledger> Authorized<L, ToAdminister> {
    /// Changes a limit that the caller may change, and writes the audit line, whatever comes of it.
    pub(super) async fn change<T, E: Into<Reject>>(
        &self,
        action: &'static str,
        key: &LimitKey,
        change: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Reject> {
        let before = self.definition(key);
        let result = match self.check_keys([key]) {
            Ok(()) => self.api.in_time(change).await,
            Err(forbidden) => Err(forbidden.into()),
        };
        self.api.gate.audit.write(&AuditEntry {
            unix_ms: unix_ms_of(SystemTime::now()),
            caller: self.caller.name(),
            peer: self.peer,
            action,
            key: key.as_str(),
            before,
            after: self.definition(key),
            outcome: result.as_ref().err().map_or("ok", Reject::name),
        });
        result
    }

    /// The definition of a limit, if it is known here.
    fn definition(&self, key: &LimitKey) -> Option<DefinitionJson> {
        let definition = self.api.engine.registry().definition(key);
        definition.map(|definition| DefinitionJson::from(&definition))
    }
}

impl<L: Send + Sync + 'static, S: Required> FromRequestParts<Guarded<L>> for Authorized<L, S> {
    type Rejection = Reject;

    async fn from_request_parts(request: &mut Parts, guarded: &Guarded<L>) -> Result<Self, Reject> {
        let caller = guarded.0.gate.admit(request, S::SCOPE)?;
        let peer = request.extensions.get::<Peer>().map(|peer| peer.0);
        Ok(Self { api: Arc::clone(&guarded.0), caller, peer, scope: PhantomData })
    }
}

impl<L: Send + Sync + 'static> FromRequestParts<Guarded<L>> for Addressed {
    type Rejection = Reject;

    async fn from_request_parts(request: &mut Parts, guarded: &Guarded<L>) -> Result<Self, Reject> {
        guarded.0.gate.allowed_hosts.check(request).map_err(Refusal::from)?;
        Ok(Self)
    }
}

impl<L> FromRef<Guarded<L>> for Public<L> {
    fn from_ref(guarded: &Guarded<L>) -> Self {
        Self(Arc::clone(&guarded.0))
    }
}

impl<L> Public<L> {
    pub(super) fn readiness(&self) -> &Readiness<L> {
        &self.0.readiness
    }

    /// Why the service is in danger, if it is.
    pub(super) fn warning(&self) -> Option<&'static str> {
        self.0.gate.authenticator.warning()
    }
}
