//! Files in an object store, which knows no directories, no renaming and no syncing: an object appears whole once its
//! PUT was answered.
//!
//! A manifest is one conditional PUT: it succeeds only over what this process last saw under that name. A job that
//! starts claims the manifest that comes next, so a process that was thought gone cannot publish it any more, however
//! late it wakes; what it writes beside lies under names that carry its run, in nobody's way.
//!
//! **Invariant.** It runs on the control thread, in a tokio runtime that runs only while a request is under way.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::path::Path as ObjectPath;
use object_store::{
    Error as StoreError, MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    UpdateVersion,
};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use super::lease::{Clock, Holder, Patience, RENEWAL, Sight, Watch};
use super::location::ObjectLocation;
use super::{Files, Unreadable, refusals};
use crate::limits::{UPLOAD_PART_BYTES, UPLOAD_PARTS_MAX};
use crate::terminal::tell;

const LOCK: &str = "lock";
/// What a claimed manifest begins with; no manifest does.
const CLAIM: &[u8] = b"claimed by run ";
/// How often a lock of another machine is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The files of a job in an object store.
pub struct ObjectFiles {
    location: ObjectLocation,
    store: Arc<dyn ObjectStore>,
    runtime: Runtime,
    holder: RefCell<Holder>,
    renewed_at: Cell<Instant>,
    /// What was last seen under the names that conditional writes go to; `None` = nothing was there.
    seen: RefCell<BTreeMap<ObjectPath, Option<UpdateVersion>>>,
    claimed: RefCell<Option<ObjectPath>>,
    /// A request has failed: the store may not answer the next one either.
    has_failed: Cell<bool>,
}

impl Debug for ObjectFiles {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("ObjectFiles")
            .field(&self.location.url)
            .finish()
    }
}

impl ObjectFiles {
    /// Connects and takes the lock; waits for a process of another machine that may be gone.
    ///
    /// # Errors
    /// The store cannot be reached or refuses, or another process uses the place.
    pub fn open(location: &ObjectLocation) -> Result<ObjectFiles, String> {
        let this = Holder::this_process();
        ObjectFiles::open_as(location, location.connect()?, this, &Clock::start())
    }

    /// The same over a store, as a process, for which time passes so.
    ///
    /// # Errors
    /// As [`ObjectFiles::open`].
    pub(in crate::checkpoints) fn open_as(
        location: &ObjectLocation,
        store: Arc<dyn ObjectStore>,
        holder: Holder,
        time: &dyn Patience,
    ) -> Result<ObjectFiles, String> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("cannot start what talks to object stores: {error}"))?;
        let files = ObjectFiles {
            location: location.clone(),
            store,
            runtime,
            holder: RefCell::new(holder),
            renewed_at: Cell::new(Instant::now()),
            seen: RefCell::default(),
            claimed: RefCell::default(),
            has_failed: Cell::new(false),
        };
        files.lock(time)?;
        Ok(files)
    }

    /// Takes the lock, if nobody holds it who lives.
    fn lock(&self, time: &dyn Patience) -> Result<(), String> {
        let mut watch: Option<Watch> = None;
        loop {
            let Some(holder) = self.holder_of_lock()? else {
                match self.put_lock()? {
                    true => return Ok(()),
                    false => continue,
                }
            };
            let sight = match (holder.is_alive(), &watch) {
                (Some(true), _) => Sight::Renewed,
                (Some(false), _) => Sight::Expired,
                (None, Some(watch)) => watch.look(&holder, time.elapsed()),
                (None, None) => {
                    tell(&format!(
                        "note: {} was in use by {}; waiting whether it still is",
                        self.location.url,
                        holder.describe()
                    ));
                    watch = Some(Watch::begin(holder.clone(), time.elapsed()));
                    Sight::Silent
                }
            };
            match sight {
                Sight::Silent => time.pause(LOOK_EVERY),
                Sight::Renewed => return Err(self.in_use(&holder)),
                Sight::Expired if self.put_lock()? => return Ok(()),
                Sight::Expired => watch = None,
            }
        }
    }

    fn in_use(&self, holder: &Holder) -> String {
        format!(
            "another job is running with it ({}); stop that one, or, if it is certainly gone, delete the object {}",
            holder.describe(),
            self.describe("", LOCK)
        )
    }

    /// Who holds the lock.
    fn holder_of_lock(&self) -> Result<Option<Holder>, String> {
        let Some(bytes) = self.get(&self.path("", LOCK))? else {
            return Ok(None);
        };
        let holder = serde_json::from_slice(&bytes);
        holder.map(Some).map_err(|error| {
            format!(
                "the object {} is not a lock of this program ({error}); delete it if no job is running",
                self.describe("", LOCK)
            )
        })
    }

    /// Writes the lock over what was last seen of it; false = somebody was faster.
    fn put_lock(&self) -> Result<bool, String> {
        let begin = Instant::now();
        self.holder.borrow_mut().renewed += 1;
        let bytes = serde_json::to_vec(&*self.holder.borrow()).expect("invariant: a holder is plain data");
        let is_ours = self.put_if_unchanged(&self.path("", LOCK), &bytes)?;
        if is_ours {
            self.renewed_at.set(begin);
        }
        Ok(is_ours)
    }

    /// Writes an object if nobody has since it was last seen. A PUT whose answer was lost is made again and finds
    /// itself: that is no one else.
    fn put_if_unchanged(&self, path: &ObjectPath, bytes: &[u8]) -> Result<bool, String> {
        let seen = self.seen.borrow().get(path).cloned().flatten();
        let options = PutOptions::from(seen.map_or(PutMode::Create, PutMode::Update));
        let payload = PutPayload::from(bytes.to_vec());
        match self.runtime.block_on(self.store.put_opts(path, payload, options)) {
            Ok(put) => {
                self.seen.borrow_mut().insert(path.clone(), Some(put.into()));
                Ok(true)
            }
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                Ok(self.get(path)?.as_deref() == Some(bytes))
            }
            Err(error) => Err(self.say(&error)),
        }
    }

    /// Reads an object, and notes which version of it was seen.
    fn get(&self, path: &ObjectPath) -> Result<Option<Vec<u8>>, String> {
        let read = async {
            let found = self.store.get(path).await?;
            let version = UpdateVersion {
                e_tag: found.meta.e_tag.clone(),
                version: found.meta.version.clone(),
            };
            Ok::<_, StoreError>((found.bytes().await?, version))
        };
        let (bytes, version) = match self.runtime.block_on(read) {
            Ok((bytes, version)) => (Some(Vec::from(bytes)), Some(version)),
            Err(error) if refusals::is_missing_object(&error) => (None, None),
            Err(error) => return Err(self.say(&error)),
        };
        self.seen.borrow_mut().insert(path.clone(), version);
        Ok(bytes)
    }

    /// A file of many parts, some of them under way at once.
    async fn upload(&self, path: &ObjectPath, bytes: &[u8]) -> object_store::Result<()> {
        let mut upload = self.store.put_multipart(path).await?;
        let sent = send_parts(upload.as_mut(), bytes).await;
        match sent {
            Ok(()) => upload.complete().await.map(|_| ()),
            Err(error) => {
                // What is left of it costs money until it is taken back; the first error is the one to tell.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    fn path(&self, directory: &str, name: &str) -> ObjectPath {
        let parts = [directory, name].into_iter().filter(|part| !part.is_empty());
        parts.fold(self.location.prefix.clone(), |path, part| path.join(part))
    }

    fn say(&self, error: &StoreError) -> String {
        self.has_failed.set(true);
        refusals::say(error, &self.location)
    }
}

async fn send_parts(upload: &mut dyn MultipartUpload, bytes: &[u8]) -> object_store::Result<()> {
    let mut under_way = JoinSet::new();
    for part in bytes.chunks(UPLOAD_PART_BYTES) {
        if under_way.len() == UPLOAD_PARTS_MAX
            && let Some(sent) = under_way.join_next().await
        {
            sent??;
        }
        under_way.spawn(upload.put_part(PutPayload::from(part.to_vec())));
    }
    while let Some(sent) = under_way.join_next().await {
        sent??;
    }
    Ok(())
}

impl Files for ObjectFiles {
    fn describe(&self, directory: &str, name: &str) -> String {
        let parts = [directory, name].into_iter().filter(|part| !part.is_empty());
        parts.fold(self.location.url.clone(), |url, part| format!("{url}/{part}"))
    }

    fn own_name(&self, name: &str) -> String {
        format!("{name}.{}", self.holder.borrow().run)
    }

    fn directories(&self) -> Result<Vec<String>, String> {
        let list = self.store.list_with_delimiter(Some(&self.location.prefix));
        let found = self.runtime.block_on(list).map_err(|error| self.say(&error))?;
        let names = found.common_prefixes.iter();
        Ok(names
            .filter_map(|path| path.parts().next_back())
            .map(|part| part.as_ref().to_owned())
            .collect())
    }

    fn read(&self, directory: &str, name: &str) -> Result<Option<Vec<u8>>, Unreadable> {
        let bytes = self
            .get(&self.path(directory, name))
            .map_err(Unreadable::Unreachable)?;
        Ok(bytes.filter(|bytes| !bytes.starts_with(CLAIM)))
    }

    fn write(&self, directory: &str, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.keep_lock()?;
        let path = self.path(directory, name);
        let written = match bytes.len() > UPLOAD_PART_BYTES {
            true => self.runtime.block_on(self.upload(&path, bytes)),
            false => {
                let put = self.store.put(&path, PutPayload::from(bytes.to_vec()));
                self.runtime.block_on(put).map(|_| ())
            }
        };
        written.map_err(|error| self.say(&error))
    }

    fn publish(&self, directory: &str, name: &str, bytes: &[u8]) -> Result<(), String> {
        self.keep_lock()?;
        let path = self.path(directory, name);
        match self.put_if_unchanged(&path, bytes)? {
            true => {
                self.claimed.borrow_mut().take_if(|claimed| *claimed == path);
                Ok(())
            }
            false => Err("another process has taken the job over; this one stops".to_owned()),
        }
    }

    fn claim(&self, directory: &str, name: &str) -> Result<bool, String> {
        let path = self.path(directory, name);
        let run = self.holder.borrow().run.clone();
        let is_claimed = self.put_if_unchanged(&path, &[CLAIM, run.as_bytes()].concat())?;
        *self.claimed.borrow_mut() = is_claimed.then_some(path);
        Ok(is_claimed)
    }

    fn delete(&self, directory: &str, first: &str) -> Result<(), String> {
        let (root, first) = (self.path(directory, ""), self.path(directory, first));
        let claimed = self.claimed.borrow().clone();
        let delete = async {
            let list = self.store.list_with_delimiter(Some(&root)).await?;
            let mut paths: Vec<ObjectPath> = list.objects.into_iter().map(|object| object.location).collect();
            paths.retain(|path| Some(path) != claimed.as_ref());
            paths.sort_by_key(|path| *path != first);
            for path in &paths {
                match self.store.delete(path).await {
                    Err(StoreError::NotFound { .. }) => {}
                    deleted => deleted?,
                }
            }
            Ok::<_, StoreError>(())
        };
        self.runtime.block_on(delete).map_err(|error| self.say(&error))?;
        self.seen
            .borrow_mut()
            .retain(|path, _| Some(path) == claimed.as_ref() || !path.prefix_matches(&root));
        Ok(())
    }

    /// A PUT that was answered is durable.
    fn make_durable(&self, _directory: &str, _names: &[&str]) -> Result<(), String> {
        Ok(())
    }

    fn keep_lock(&self) -> Result<(), String> {
        if self.renewed_at.get().elapsed() < RENEWAL || self.put_lock()? {
            return Ok(());
        }
        Err(match self.holder_of_lock()? {
            Some(holder) => format!("{} has taken the job over; this one stops", holder.describe()),
            None => format!(
                "the object {} was deleted; this job stops",
                self.describe("", LOCK)
            ),
        })
    }
}

impl Drop for ObjectFiles {
    /// Gives the lock back, if it is still this process's. Where that fails it falls free by itself.
    fn drop(&mut self) {
        if self.has_failed.get() {
            return;
        }
        let is_ours = |holder: Holder| holder.run == self.holder.borrow().run;
        if self.holder_of_lock().ok().flatten().is_some_and(is_ours) {
            let _ = self.runtime.block_on(self.store.delete(&self.path("", LOCK)));
        }
    }
}
