//! Requests that wait: for a playlist with a segment or a part that is not there yet, and for the part that a playlist has announced.
//!
//! Spec: draft-pantos-hls-rfc8216bis §6.2.5.2 and §6.2.6.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use tokio::sync::watch;
use tokio::time::timeout;

use super::shelf::{Listed, Low};
use crate::http::request;

/// What a request for a playlist says of the one that it wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reload {
    /// `_HLS_msn`: with this segment, and with `_HLS_part`, this part of it.
    wanted: Option<(u64, Option<u64>)>,
    /// `_HLS_skip`: what it has seen may be left out.
    pub(super) skip: bool,
}

/// Why there is no playlist of the kind that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No such thing will come soon, or it makes no sense.
    Senseless,
    /// It should have come.
    Late,
    /// The stream is gone.
    Gone,
}

impl Reload {
    pub(super) fn of(uri: &Uri) -> Result<Self, Refusal> {
        let number = |name| match request::parameter(uri, name) {
            Some(value) => value.parse::<u64>().map(Some).map_err(|_| Refusal::Senseless),
            None => Ok(None),
        };
        let wanted = match (number("_HLS_msn")?, number("_HLS_part")?) {
            (Some(segment), part) => Some((segment, part)),
            (None, Some(_)) => return Err(Refusal::Senseless),
            (None, None) => None,
        };
        let skip = request::parameter(uri, "_HLS_skip").is_some_and(|value| matches!(&*value, "YES" | "v2"));
        Ok(Self { wanted, skip })
    }

    /// The playlist, when it has what is wanted; at once if it knows of no waiting.
    pub(super) async fn wait(
        self,
        playlist: &mut watch::Receiver<Arc<Listed>>,
    ) -> Result<Arc<Listed>, Refusal> {
        let now = playlist.borrow_and_update().clone();
        let (Some(low), Some((segment, part))) = (&now.low, self.wanted) else { return Ok(now) };
        if !is_near(low, segment, part) {
            return Err(Refusal::Senseless);
        }
        let has = |listed: &Arc<Listed>| listed.low.as_ref().is_none_or(|low| low.edge.has(segment, part));
        match timeout(patience(low), playlist.wait_for(has)).await {
            Ok(Ok(listed)) => Ok(listed.clone()),
            Ok(Err(_)) => Err(Refusal::Gone),
            Err(_) => Err(Refusal::Late),
        }
    }
}

/// So long a request waits: three target durations.
pub(super) fn patience(low: &Low) -> Duration {
    low.target * 3
}

/// It is not so far ahead that something must be wrong: two segments, and as many parts as there are in three seconds.
fn is_near(low: &Low, segment: u64, part: Option<u64>) -> bool {
    let edge = low.edge;
    let parts = (3.0 / low.part.as_secs_f64().min(1.0)).ceil() as u64;
    let is_part_near = segment != edge.next || part.is_none_or(|part| part <= edge.parts + parts);
    segment <= edge.next + 1 && is_part_near
}

#[cfg(test)]
mod tests {
    use formats::hls::{Edge, Playlist};
    use hub::StreamKey;

    use super::*;

    fn listed(next: u64, parts: u64) -> Arc<Listed> {
        let stream = StreamKey { vhost: "v".into(), app: "live".into(), stream: "a".into() };
        let low = Low {
            delta: None,
            edge: Edge { next, parts, before: 4 },
            target: Duration::from_millis(100),
            part: Duration::from_millis(500),
            hint: String::new(),
        };
        Arc::new(Listed {
            stream: Arc::new(stream),
            playlist: Playlist::default(),
            about: Arc::default(),
            rate: None,
            live: true,
            low: Some(low),
        })
    }

    fn reload(query: &str) -> Result<Reload, Refusal> {
        Reload::of(&format!("/live/a.m3u8?{query}").parse().unwrap())
    }

    #[test]
    fn what_requests_say() {
        assert_eq!(reload("hls_ctx=x"), Ok(Reload::default()));
        let want = |wanted, skip| Ok(Reload { wanted: Some(wanted), skip });
        assert_eq!(reload("_HLS_msn=7"), want((7, None), false));
        assert_eq!(reload("_HLS_msn=7&_HLS_part=2&_HLS_skip=YES"), want((7, Some(2)), true));
        for senseless in ["_HLS_part=1", "_HLS_msn=x", "_HLS_msn=-1", "_HLS_msn=1&_HLS_part=x"] {
            assert_eq!(reload(senseless), Err(Refusal::Senseless), "{senseless}");
        }
    }

    #[tokio::test]
    async fn all_who_wait_get_the_same_as_soon_as_it_is_there() {
        let playlist = watch::Sender::new(listed(5, 1));
        let ask = |query: &str| {
            let (reload, mut playlist) = (reload(query).unwrap(), playlist.subscribe());
            tokio::spawn(
                async move { reload.wait(&mut playlist).await.map(|listed| listed.playlist.clone()) },
            )
        };
        for there in ["", "_HLS_msn=4", "_HLS_msn=5&_HLS_part=0", "_HLS_msn=4&_HLS_part=4"] {
            assert!(ask(there).await.unwrap().is_ok(), "{there}");
        }
        for senseless in ["_HLS_msn=7", "_HLS_msn=5&_HLS_part=8"] {
            assert_eq!(ask(senseless).await.unwrap(), Err(Refusal::Senseless), "{senseless}");
        }
        let waiting: Vec<_> = (0..1000).map(|_| ask("_HLS_msn=5&_HLS_part=1")).collect();
        let (segment, never) = (ask("_HLS_msn=5"), ask("_HLS_msn=6"));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(waiting.iter().chain([&segment, &never]).all(|task| !task.is_finished()));
        playlist.send_replace(listed(5, 2));
        for task in waiting {
            assert!(task.await.unwrap().is_ok());
        }
        playlist.send_replace(listed(6, 0));
        assert!(segment.await.unwrap().is_ok());
        assert_eq!(never.await.unwrap(), Err(Refusal::Late), "after three targets");
        let gone = ask("_HLS_msn=6");
        tokio::task::yield_now().await;
        drop(playlist);
        assert_eq!(gone.await.unwrap(), Err(Refusal::Gone));
    }
}
