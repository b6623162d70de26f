//! What clients have to show: a token, or a signed address. Where a vhost asks for both, either will do.

use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tokio::task::AbortHandle;

use super::token::{self, Tokens, Wish};
use super::{Ask, Refused, Settings, limits, signed};
use crate::caller::Caller;
use crate::config::Vhost;
use crate::session::Session;

/// See the module.
#[derive(Default)]
pub(super) struct Proofs(Tokens);

impl Proofs {
    /// See [`Tokens::forget`].
    pub(super) fn forget(&self) {
        self.0.forget();
    }

    /// Whether a client shows what its vhost asks for; until when it may stay, in the time since 1970, if its token says so.
    ///
    /// # Errors
    /// When it does not.
    pub(super) async fn check(
        &self,
        caller: Option<&Caller>,
        ask: &Ask<'_>,
        vhost: &Vhost,
    ) -> Result<Option<Duration>, Refused> {
        let publishes = ask.kind.is_publish();
        let token = vhost.token.as_ref().filter(|token| if publishes { token.publish } else { token.play });
        let signature =
            vhost.signed_url.as_ref().filter(|signed| if publishes { signed.publish } else { signed.play });
        let (app, stream) = (&ask.request.app, &ask.request.stream);
        if let Some(config) = signature {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let what = (publishes, &*format!("/{app}/{stream}"), ask.address(vhost));
            match signed::check(config, &ask.request.param, what, now.as_secs()) {
                Ok(()) => return Ok(None),
                Err(reason) if token.is_none() => return Err(Refused::Unproved(reason)),
                Err(_) => {}
            }
        }
        let Some(config) = token else { return Ok(None) };
        let Some(text) = token::shown(&ask.request) else {
            return Err(Refused::Unproved("a token is needed".into()));
        };
        let wish = Wish { publishes, vhost: &vhost.name, stream: &format!("{app}/{stream}") };
        let end = self.0.check(config, caller, &text, wish).await?;
        Ok(config.ends_session.then_some(end))
    }
}

/// What ends a session from outside: the end of its token, and its bit rate. Dropping it calls that off.
#[derive(Default)]
pub(super) struct Curfew(Vec<AbortHandle>);

impl Curfew {
    /// For a client that may stay until `end`; for a publisher by the settings of its vhost.
    pub(super) fn new(
        caller: Option<&Caller>,
        session: &Arc<Session>,
        publishes: Option<Settings>,
        end: Option<Duration>,
    ) -> Self {
        let Some(caller) = caller else { return Self::default() };
        let session: Weak<Session> = Arc::downgrade(session);
        let mut tasks = Vec::new();
        if let Some(end) = end {
            let session = session.clone();
            tasks.push(caller.spawn(expire(session, end)).abort_handle());
        }
        if let Some(settings) = publishes {
            tasks.push(caller.spawn(limits::watch_bitrate(session, settings, limits::LOOK)).abort_handle());
        }
        Self(tasks)
    }
}

impl Drop for Curfew {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Ends a session at some time since 1970.
async fn expire(session: Weak<Session>, end: Duration) {
    // The clock may be set meanwhile.
    const LOOK: Duration = Duration::from_secs(60);
    loop {
        let left = token::until(end);
        if left.is_zero() {
            break;
        }
        tokio::time::sleep(left.min(LOOK)).await;
    }
    if let Some(session) = session.upgrade() {
        session.kick("its token has expired");
    }
}
