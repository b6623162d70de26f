//! One stream on its way to fragments: their names, and which of them are listed. It runs on the packager's thread, and may wait for files
//! there.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use formats::flv::Tag;
use formats::hds::{Fragment, Fragmenter, Window, manifest};
use hub::StreamKey;
use media::Stamped;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tracing::{debug, info, warn};

use crate::config::Hds;
use crate::follow::file::{remove, replace};
use crate::follow::{self, Publisher};
use crate::form;
use crate::naming;
use crate::store::{Content, Output, Store};

/// See the module.
pub struct Stream {
    key: Arc<StreamKey>,
    hds: Arc<Hds>,
    store: Store,
    fragmenter: Fragmenter,
    window: Window,
    /// Fragments that are not listed any more, and may still be fetched.
    expired: VecDeque<u32>,
    /// What another process, or an older one, has left under these names is gone.
    is_clean: bool,
    /// The manifest stands.
    is_manifest: bool,
    warned: bool,
}

/// Fragments that have left the list stay so many fragments longer: players may be about to fetch them.
const EXPIRED_KEPT: usize = 2;

/// Streams are remembered for so long after their publisher left: the numbers of fragments go on.
const REMEMBERED: Duration = Duration::from_secs(3600);

impl Stream {
    /// A stream without fragments.
    ///
    /// # Errors
    /// Why there can be none.
    pub(super) fn new(key: &StreamKey, hds: &Arc<Hds>, store: &Store) -> Result<Self, String> {
        if !naming::is_safe(key) {
            return Err(format!("{key} cannot be the name of a file"));
        }
        Ok(Self {
            key: Arc::new(key.clone()),
            hds: hds.clone(),
            store: store.clone(),
            fragmenter: Fragmenter::new(form::micros(hds.fragment)),
            window: Window::new(form::micros(hds.window)),
            expired: VecDeque::new(),
            is_clean: false,
            is_manifest: false,
            warned: false,
        })
    }

    fn put(&mut self, fragment: Option<Fragment>) {
        let Some(fragment) = fragment else { return };
        if let Err(e) = self.write(&fragment)
            && !std::mem::replace(&mut self.warned, true)
        {
            warn!("hds: {}: {e}", self.key);
        }
    }

    fn write(&mut self, fragment: &Fragment) -> io::Result<()> {
        if !std::mem::replace(&mut self.is_clean, true) {
            self.clean();
        }
        let number = self.window.next();
        let name = self.fragment(number);
        let path = self.hds.path.join(&name);
        replace(&path, [&fragment.bytes[..]])?;
        self.store.finished(&self.key, Output::Hds, &name, || Content::File(path.clone()));
        self.expired.extend(self.window.push(fragment.start, fragment.duration));
        debug!("hds: {} fragment {number} of {} ms", self.key, fragment.duration.millis());
        self.list()?;
        while self.expired.len() > EXPIRED_KEPT
            && let Some(oldest) = self.expired.pop_front()
        {
            let name = self.fragment(oldest);
            self.store.removed(&self.key, Output::Hds, &name);
            remove(&self.hds.path.join(name))?;
        }
        Ok(())
    }

    /// Shows what there is now.
    fn list(&mut self) -> io::Result<()> {
        let Some(bootstrap) = self.window.bootstrap() else { return Ok(()) };
        let name = self.name(".abst");
        replace(&self.hds.path.join(&name), [&bootstrap[..]])?;
        self.store.listed(&self.key, Output::Hds, &name, || Bytes::from(bootstrap));
        if self.is_manifest {
            return Ok(());
        }
        let last = self.key.stream.rsplit('/').next().unwrap_or_default();
        // Two dots within a name are no step upwards, but some servers take them for one.
        let file = utf8_percent_encode(last, NON_ALPHANUMERIC).to_string();
        let (name, text) = (self.name(".f4m"), manifest(&self.key.stream, &file));
        replace(&self.hds.path.join(&name), [text.as_bytes()])?;
        self.store.listed(&self.key, Output::Hds, &name, || Bytes::from(text));
        self.is_manifest = true;
        Ok(())
    }

    /// Deletes the fragments that were left by a process before this one: their numbers would come again.
    fn clean(&self) {
        let path = self.hds.path.join(self.name(""));
        let Some((folder, stream)) = path.parent().zip(path.file_name().and_then(|name| name.to_str()))
        else {
            return;
        };
        let Ok(entries) = fs::read_dir(folder) else { return };
        let is_own = |name: &str| {
            let number = name.strip_prefix(stream).and_then(|rest| rest.strip_prefix(FRAGMENT));
            number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        for entry in entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_own)) {
            if let Err(e) = remove(&entry.path()) {
                warn!("hds: {}: {e}", self.key);
            }
        }
    }

    fn fragment(&self, number: u32) -> String {
        self.name(&format!("{FRAGMENT}{number}"))
    }

    fn name(&self, ending: &str) -> String {
        format!("{}/{}{ending}", self.key.app, self.key.stream)
    }
}

/// Between the name of a stream and the number of a fragment.
const FRAGMENT: &str = "Seg1-Frag";

impl follow::Stream for Stream {
    type Unit = Tag;
    type Link = ();

    fn turn(mut self, now: Self) -> Self {
        let fragment = self.fragmenter.restart();
        self.put(fragment);
        if self.hds.path != now.hds.path {
            return now;
        }
        self.window.resize(form::micros(now.hds.window));
        self.fragmenter.turn(form::micros(now.hds.fragment));
        Self { hds: now.hds, ..self }
    }

    fn begin(&mut self, (): (), _publisher: Publisher) {
        info!("hds: {} goes to {}, fragments of {:?}", self.key, self.hds.path.display(), self.hds.fragment);
        self.warned = false;
    }

    fn renew(&mut self, _publisher: Publisher) {
        let fragment = self.fragmenter.renew();
        self.put(fragment);
        self.warned = false;
    }

    fn lose(&mut self, units: u64) {
        warn!("hds: the disk is too slow for {}, {units} tags are lost", self.key);
        let fragment = self.fragmenter.restart();
        self.put(fragment);
    }

    fn take(&mut self, tag: Stamped<Tag>) {
        let fragment = self.fragmenter.take(&tag);
        self.put(fragment);
    }

    fn leave(&mut self) {
        let fragment = self.fragmenter.renew();
        self.put(fragment);
        self.window.end();
        if let Err(e) = self.list() {
            warn!("hds: {}: {e}", self.key);
        }
    }

    fn rest(&self) -> Duration {
        REMEMBERED
    }

    /// The files stay: what was listed last can be played.
    fn end(mut self, files_stay: bool) {
        if !files_stay {
            self.leave();
        }
    }
}
