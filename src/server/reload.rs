//! Files that are read again while the service runs: when they change, and when it gets `SIGHUP`.

use std::io;
use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, fs};

use sha2::{Digest as _, Sha256};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task;
use tokio::time::{self, MissedTickBehavior};

/// How often files are compared with what they were.
const INTERVAL: Duration = Duration::from_secs(1);

/// Files, and what was in them when they were last looked at.
///
/// Their contents are compared, and links are followed: Kubernetes replaces a link to a whole folder, and the time of
/// a file says little. Of contents that may be secret, only the hash is kept.
#[derive(Debug)]
pub struct Files {
    paths: Vec<PathBuf>,
    /// What was in them at the last look.
    seen: Vec<Content>,
    /// What was in them when they were last read for use.
    used: Vec<Content>,
}

/// The hash of what is in a file, or why it cannot be read.
type Content = Result<[u8; 32], io::ErrorKind>;

impl Files {
    /// The files as they are now. To be called before they are read for the first time, so that no change is missed.
    #[must_use]
    pub fn new(paths: Vec<PathBuf>) -> Self {
        let seen = contents(&paths);
        Self { paths, used: seen.clone(), seen }
    }

    /// Whether they have to be read again: their contents are others than those that were used, and did not change
    /// since the last look. What is still being written is left for later.
    fn have_changed(&mut self) -> bool {
        let now = contents(&self.paths);
        let is_still = now == self.seen;
        self.seen = now;
        is_still && self.seen != self.used
    }
}

fn contents(paths: &[PathBuf]) -> Vec<Content> {
    let content = |path| fs::read(path).map(|bytes| Sha256::digest(bytes).into()).map_err(|error| error.kind());
    paths.iter().map(content).collect()
}

/// Looks at files once a second, and has those read again that changed; all of them at `SIGHUP`.
#[derive(Default)]
pub struct Reloader {
    watched: Vec<Watched>,
    /// Caught only if there is something to read again: otherwise the signal ends the process, as it does by default.
    hangup: Option<Signal>,
}

struct Watched {
    files: Files,
    reload: Box<dyn FnMut() + Send>,
}

impl Reloader {
    /// Watches `files` from now on. `reload` reads them again, on a thread that may block. If they cannot be used, it
    /// leaves in force what is, and logs why: it is not called again before they change again.
    ///
    /// # Errors
    /// If the signal cannot be caught.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn watch(&mut self, files: Files, reload: impl FnMut() + Send + 'static) -> io::Result<()> {
        if self.hangup.is_none() {
            self.hangup = Some(signal(SignalKind::hangup())?);
        }
        self.watched.push(Watched { files, reload: Box::new(reload) });
        Ok(())
    }

    /// Watches for ever. To be dropped at shut-down.
    pub async fn run(mut self) {
        let Some(mut hangup) = self.hangup.take() else { return };
        let mut looks = time::interval(INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_asked = tokio::select! {
                asked = hangup.recv() => asked.is_some(),
                _ = looks.tick() => false,
            };
            let looked = task::spawn_blocking(move || {
                self.look(is_asked);
                self
            });
            // A runtime that ends is a shut-down; a bug was logged.
            let Ok(looked) = looked.await else { return };
            self = looked;
        }
    }

    /// Has the files read again that changed, or all if somebody asks for it.
    fn look(&mut self, is_asked: bool) {
        for Watched { files, reload } in &mut self.watched {
            if files.have_changed() || is_asked {
                files.used.clone_from(&files.seen);
                reload();
            }
        }
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.watched.iter().map(|watched| &watched.files.paths)).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// How often a file is read again in so many looks.
    struct Counted {
        reloader: Reloader,
        count: Arc<AtomicU32>,
    }

    impl Counted {
        fn new(path: &Path) -> Self {
            let (mut reloader, count) = (Reloader::default(), Arc::new(AtomicU32::new(0)));
            let counted = Arc::clone(&count);
            let reload = move || {
                counted.fetch_add(1, Ordering::Relaxed);
            };
            reloader.watch(Files::new(vec![path.to_owned()]), reload).unwrap();
            Self { reloader, count }
        }

        fn looks(&mut self, looks: u32) -> u32 {
            (0..looks).for_each(|_| self.reloader.look(false));
            self.count.swap(0, Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn a_file_is_read_again_once_for_each_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "one").unwrap();
        let mut counted = Counted::new(&path);
        assert_eq!(counted.looks(5), 0);
        fs::write(&path, "two").unwrap();
        assert_eq!(counted.looks(1), 0, "it may still be written");
        assert_eq!(counted.looks(5), 1);
        fs::remove_file(&path).unwrap();
        assert_eq!(counted.looks(5), 1, "whoever uses it has to say that it is gone");
        fs::write(&path, "two").unwrap();
        assert_eq!(counted.looks(5), 1);
        counted.reloader.look(true);
        assert_eq!(counted.looks(5), 1, "somebody asked for it");
    }

    #[tokio::test]
    async fn a_change_before_the_first_look_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut counted = Counted::new(&path);
        fs::write(&path, "made after it was missing").unwrap();
        assert_eq!(counted.looks(5), 1);
    }

    /// As Kubernetes updates a secret: the file is a link into a folder, which is a link that is replaced.
    #[tokio::test]
    async fn a_link_that_is_replaced_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for version in ["v1", "v2"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("file"), version).unwrap();
        }
        symlink("v1", at("data")).unwrap();
        symlink("data/file", at("file")).unwrap();
        let mut counted = Counted::new(&at("file"));
        assert_eq!(counted.looks(3), 0);
        symlink("v2", at("next")).unwrap();
        fs::rename(at("next"), at("data")).unwrap();
        assert_eq!(counted.looks(3), 1);
    }
}
