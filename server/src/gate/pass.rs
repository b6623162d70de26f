//! Passes: how programs that this server has started get in, whatever is asked of other clients. A pass is a secret in the query, made up for one
//! run of one program, good for one stream. Who plays or publishes with it is asked for no proof; its end takes the pass with it.

use std::collections::HashMap;
use std::fmt::{self, Write};
use std::sync::Arc;

use hub::StreamKey;
use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};

use crate::session::Request;

/// The parameter, with its sign; the log masks it.
const PARAMETER: &str = "oxcast_pass=";

/// All passes that are good now, by their text.
#[derive(Default)]
pub struct Passes(Mutex<HashMap<String, Grant>>);

/// What a pass is good for.
struct Grant {
    key: StreamKey,
    publishes: bool,
    /// It is good for one client; otherwise for as many as there come.
    once: bool,
}

/// A pass; dropping it makes it void.
pub struct Pass {
    text: String,
    passes: Arc<Passes>,
}

impl Passes {
    /// A pass to publish or to play a stream; none if the system has no randomness to give.
    pub fn issue(self: &Arc<Self>, key: &StreamKey, publishes: bool, once: bool) -> Option<Pass> {
        let mut secret = [0; 16];
        SystemRandom::new().fill(&mut secret).ok()?;
        let mut text = String::with_capacity(secret.len() * 2);
        for byte in secret {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        self.0.lock().insert(text.clone(), Grant { key: key.clone(), publishes, once });
        Some(Pass { text, passes: self.clone() })
    }

    /// Takes the pass out of what a client says, so that nobody else hears of it; whether it is good for what the client wants.
    pub(super) fn redeem(&self, request: &mut Request, key: Option<&StreamKey>, publishes: bool) -> bool {
        let shown = take(&mut request.param);
        take(&mut request.tc_url);
        let Some((text, key)) = shown.zip(key) else { return false };
        let mut grants = self.0.lock();
        let Some(grant) = grants.get(&text) else { return false };
        let is_good = grant.key == *key && grant.publishes == publishes;
        if is_good && grant.once {
            grants.remove(&text);
        }
        is_good
    }
}

impl Pass {
    /// The address with the pass.
    pub fn on(&self, url: &str) -> String {
        // In `app?vhost=v/stream`, the query of the stream is another one.
        let has_query = url.rsplit('/').next().is_some_and(|name| name.contains('?'));
        format!("{url}{}{PARAMETER}{}", if has_query { '&' } else { '?' }, self.text)
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pass")
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.passes.0.lock().remove(&self.text);
    }
}

/// Takes the pass out of a query.
fn take(text: &mut String) -> Option<String> {
    let (before, value) = text.split_once(PARAMETER)?;
    let end = value.find(['&', ';', '?', '#', '/']).unwrap_or(value.len());
    let (value, after) = value.split_at_checked(end)?;
    let value = value.to_owned();
    let more = after.trim_start_matches(['&', ';']);
    let before = if more.is_empty() || more.starts_with(['#', '/']) {
        before.trim_end_matches(['?', '&', ';'])
    } else {
        before
    };
    *text = format!("{before}{more}");
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(stream: &str) -> StreamKey {
        StreamKey { vhost: "v".into(), app: "live".into(), stream: stream.into() }
    }

    fn request(param: String) -> Request {
        Request { param, ..Request::default() }
    }

    #[test]
    fn a_pass_is_taken_out_of_the_query() {
        for (text, left) in [
            ("?oxcast_pass=ab", ""),
            ("?vhost=v&oxcast_pass=ab", "?vhost=v"),
            ("?oxcast_pass=ab&vhost=v", "?vhost=v"),
            ("?a=1&oxcast_pass=ab&b=2", "?a=1&b=2"),
            ("rtmp://h/live?oxcast_pass=ab/x", "rtmp://h/live/x"),
        ] {
            let mut param = text.to_owned();
            assert_eq!((take(&mut param).as_deref(), &*param), (Some("ab"), left), "{text}");
        }
        assert_eq!(take(&mut "?vhost=v".to_owned()), None);
    }

    #[test]
    fn it_is_good_for_one_thing_only() {
        let passes = Arc::<Passes>::default();
        let pass = passes.issue(&key("a"), false, true).unwrap();
        let shown = pass.on("?vhost=v");
        let try_it = |key: &StreamKey, publishes| {
            let mut request = request(shown.clone());
            let good = passes.redeem(&mut request, Some(key), publishes);
            assert_eq!(request.param, "?vhost=v");
            good
        };
        assert!(!try_it(&key("b"), false), "of another stream");
        assert!(!try_it(&key("a"), true), "to do something else");
        assert!(try_it(&key("a"), false));
        assert!(!try_it(&key("a"), false), "it was good once");
        let pass = passes.issue(&key("a"), false, false).unwrap();
        let good = |passes: &Passes| passes.redeem(&mut request(pass.on("")), Some(&key("a")), false);
        assert!(good(&passes) && good(&passes));
        let shown = pass.on("");
        drop(pass);
        assert!(!passes.redeem(&mut request(shown), Some(&key("a")), false), "it is void");
        assert!(!passes.redeem(&mut request("?oxcast_pass=".into()), Some(&key("a")), false));
    }

    #[tokio::test]
    async fn who_has_one_is_asked_for_nothing_else() {
        use crate::config::{Config, Environment};
        use crate::gate::{Ask, Gate};
        use crate::session::{Kind, Session};
        let rules = "security { enabled on; allow play 192.0.2.1; }
            token { enabled on; secret a-secret-of-thirty-two-characters; }
            refer { enabled on; all x.com; } limits { enabled on; players 0; streams 1; ip_players 1; }";
        let text = format!("listen 1935; vhost v {{ {rules} }}");
        let config = Arc::new(Config::parse("x", text.as_bytes(), &Environment::default()).unwrap());
        let passes = Arc::<Passes>::default();
        let gate = Gate::new(config, Arc::default()).with_passes(passes.clone());
        let try_it = async |kind: Kind, param: String| {
            let session = Session::new("127.0.0.1:1".parse().unwrap());
            let (vhost, app, stream) = ("v".into(), "live".into(), "a".into());
            let request = Request { vhost, app, stream, param, ..Request::default() };
            let ask = Ask { session: &session, kind, request, visit: None };
            match kind.is_publish() {
                true => gate.publish(ask).await.map(drop),
                false => gate.play(ask).await.map(drop),
            }
        };
        for (kind, publishes) in [(Kind::RtmpPlay, false), (Kind::FmlePublish, true)] {
            let pass = passes.issue(&key("a"), publishes, true).unwrap();
            assert!(try_it(kind, "?oxcast_pass=00".into()).await.is_err(), "{kind:?}");
            assert!(try_it(kind, pass.on("")).await.is_ok(), "{kind:?}");
            assert!(try_it(kind, pass.on("")).await.is_err(), "{kind:?}, again");
        }
    }

    #[test]
    fn it_stands_in_the_query_of_the_stream() {
        let pass = Pass { text: "ab".into(), passes: Arc::default() };
        for (url, want) in [
            ("rtmp://h/live?vhost=v/x", "rtmp://h/live?vhost=v/x?oxcast_pass=ab"),
            ("rtmp://h/live/x?vhost=v", "rtmp://h/live/x?vhost=v&oxcast_pass=ab"),
        ] {
            assert_eq!(pass.on(url), want);
        }
    }
}
