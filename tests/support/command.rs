//! The command under test, with a store of its own.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A store in a directory of its own, removed with everything in it when dropped.
pub(crate) struct Jetpack {
    directory: PathBuf,
    options: Vec<String>,
}

/// The pool that tests may use, if there is one: tests/zfs.sh makes one.
pub(crate) fn pool() -> Result<String, String> {
    let why = || std::env::var("JETPACK_TEST_NO_ZFS").unwrap_or_else(|_| "tests/zfs.sh makes one".to_owned());
    std::env::var("JETPACK_TEST_ZFS").map_err(|_| format!("needs a ZFS pool: {}", why()))
}

/// The kinds of store that real pods can stand on here.
pub(crate) fn storages() -> Vec<&'static str> {
    let zfs = pool().map(|_| "zfs");
    ["overlay", "dir"].into_iter().chain(zfs).collect()
}

/// The longest that a command may take.
const LONGEST: Duration = Duration::from_secs(120);

/// What a command did.
#[derive(Debug)]
pub(crate) struct Output {
    /// Its exit code; -1 if a signal killed it.
    pub(crate) code: i32,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

impl Jetpack {
    /// A store for the backends that touch nothing; works without root. It has been initialized.
    pub(crate) fn fake() -> Jetpack {
        Jetpack::with(&["storage=fake", "isolation=fake"])
    }

    /// A store for real pods, kept as `storage` says, or why there can be none. It has been initialized.
    pub(crate) fn real(storage: &str) -> Result<Jetpack, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("needs root".to_owned());
        }
        if storage != "zfs" {
            return Ok(Jetpack::with(&[&format!("storage={storage}")]));
        }
        let pool = pool()?;
        Ok(Jetpack::with(&["storage=zfs", &format!("root.zfs={pool}/{}", uuid::Uuid::new_v4())]))
    }

    /// A store in another pool, as on another host.
    pub(crate) fn on_another_host() -> Result<Jetpack, String> {
        let pool = std::env::var("JETPACK_TEST_ZFS_OTHER");
        let pool = pool.map_err(|_| "needs two ZFS pools, which tests/zfs.sh makes".to_owned())?;
        Ok(Jetpack::with(&["storage=zfs", &format!("root.zfs={pool}/{}", uuid::Uuid::new_v4())]))
    }

    fn with(options: &[&str]) -> Jetpack {
        let jetpack = Jetpack::uninitialized(options);
        jetpack.run(["init"]).success();
        jetpack
    }

    /// A place for a store, with these `-o` options.
    pub(crate) fn uninitialized(options: &[&str]) -> Jetpack {
        let directory = std::env::temp_dir().join(format!("jetpack-test-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&directory).expect("a temporary directory");
        std::fs::write(directory.join("jetpack.conf"), "").expect("a configuration");
        let mut all = vec![format!("root.path={}", directory.join("store").display())];
        all.extend(options.iter().map(|o| (*o).to_owned()));
        Jetpack { directory, options: all }
    }

    /// Writes the configuration file that its commands read.
    pub(crate) fn configure(&self, text: &str) {
        std::fs::write(self.directory.join("jetpack.conf"), text).expect("a configuration");
    }

    /// The directory of the store.
    pub(crate) fn store(&self) -> PathBuf {
        self.directory.join("store")
    }

    /// Where a volume of a pod's own is.
    pub(crate) fn volume(&self, pod: &str, name: &str) -> PathBuf {
        let pod = self.store().join("pods").join(pod);
        if self.dataset().is_some() { pod.join(format!("volume.{name}/tree")) } else { pod.join("volumes").join(name) }
    }

    /// The dataset of the store, where it is kept in one.
    pub(crate) fn dataset(&self) -> Option<&str> {
        self.options.iter().find_map(|option| option.strip_prefix("root.zfs="))
    }

    /// A file beside the store.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes a file beside the store and gives its path.
    pub(crate) fn file(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, contents).expect("a file beside the store");
        path
    }

    /// The command with these arguments, ready to be changed further.
    pub(crate) fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(program());
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.arg("--config").arg(self.directory.join("jetpack.conf"));
        for option in &self.options {
            command.arg("-o").arg(option);
        }
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs the command with these arguments to its end.
    pub(crate) fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        Output::of_command(&mut self.command(arguments), b"")
    }

    /// The same with something on standard input.
    pub(crate) fn run_with_input<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        input: &[u8],
    ) -> Output {
        Output::of_command(self.command(arguments).stdin(Stdio::piped()), input)
    }

    /// Starts the command with these arguments.
    pub(crate) fn spawn<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Child {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts")
    }

    /// Imports an archive from memory; gives the image's id.
    pub(crate) fn import(&self, archive: &[u8]) -> String {
        let path = self.file("image.aci", archive);
        self.import_file(&path)
    }

    /// Imports an archive; gives the image's id.
    pub(crate) fn import_file(&self, path: &Path) -> String {
        let arguments = [OsStr::new("--insecure-options"), OsStr::new("image"), OsStr::new("import"), path.as_os_str()];
        self.run(arguments).success().stdout.trim().to_owned()
    }

    /// Everything in the store, as paths relative to it, but for the lock files and directories that `init` makes.
    pub(crate) fn contents(&self) -> Vec<String> {
        let mut found = Vec::new();
        for folder in
            ["images", "layers", "pods", "tmp", "state/preparing", "state/prepared", "state/run", "state/deleting"]
        {
            let Ok(entries) = std::fs::read_dir(self.store().join(folder)) else { continue };
            found.extend(entries.flatten().map(|e| format!("{folder}/{}", e.file_name().to_string_lossy())));
        }
        found.sort();
        found
    }
}

impl Drop for Jetpack {
    fn drop(&mut self) {
        if let Some(dataset) = self.dataset() {
            destroy_dataset(dataset);
        }
        // A test that fails may leave immutable files; the command under test is not asked to clean up after itself.
        let _ =
            Command::new("chattr").args(["-R", "-f", "-i", "-a"]).arg(&self.directory).stderr(Stdio::null()).status();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Destroys a dataset with all below it, if it is there. What has just ended may hold it for a moment.
pub(crate) fn destroy_dataset(dataset: &str) {
    let zfs = |words: &[&str]| {
        let mut command = Command::new("zfs");
        command.args(words).arg(dataset).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    for _ in 0..50 {
        if zfs(&["destroy", "-R"]) || !zfs(&["list"]) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

impl Output {
    /// What a command says and how it ends, with `input` on its standard input if that is a pipe. A command that does not end
    /// is killed, and the test fails.
    #[track_caller]
    pub(crate) fn of_command(command: &mut Command, input: &[u8]) -> Output {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
        let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
        let stdin = child.stdin.take();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            // Whoever does not read its input to the end may close it early.
            scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(input)));
            scope.spawn(move || sender.send(child.wait_with_output()));
            let ended = receiver.recv_timeout(LONGEST).unwrap_or_else(|_| {
                let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
                panic!("the command did not end in {LONGEST:?}: {command:?}")
            });
            Output::of(ended.expect("the command ends"))
        })
    }

    /// The output of a process that has ended.
    pub(crate) fn of(output: std::process::Output) -> Output {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Output { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The output of a command that must have succeeded.
    #[track_caller]
    pub(crate) fn success(self) -> Output {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// The standard error of a command that must have failed with `code`.
    #[track_caller]
    pub(crate) fn failure(self, code: i32) -> String {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stderr
    }
}

/// The same command with every signal as a person's shell leaves it: whoever runs the tests may have had some ignored, as
/// nohup(1) has. Where standard input and output go has to be said anew.
pub(crate) fn with_default_signals(command: &Command) -> Command {
    let mut wrapped = Command::new("env");
    wrapped.arg("--default-signal").arg(command.get_program()).args(command.get_args()).env_clear();
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
    wrapped
}

/// The program under test: the one that cargo built, or the one that `JETPACK_UNDER_TEST` names.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("JETPACK_UNDER_TEST").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_jetpack")), PathBuf::from)
}

/// Ends a test that cannot run here, saying why at the beginning of a line: `make check` shows and counts such lines.
macro_rules! skip {
    ($($why:tt)*) => {{
        println!("skipped: {}: {}", module_path!(), format_args!($($why)*));
        return;
    }};
}

/// The value of a `Result`, or the end of a test that cannot run here.
macro_rules! or_skip {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(why) => $crate::support::command::skip!("{why}"),
        }
    };
}

pub(crate) use {or_skip, skip};
