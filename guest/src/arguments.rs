//! What this process's arguments tell others: every account of the host reads them in `ps`.

use std::ffi::{CStr, OsString, c_char};
use std::os::unix::ffi::OsStrExt;

use podspawn_wire::InitConfig;

unsafe extern "C" {
    /// The environment as the kernel laid it out, until somebody changes it.
    static environ: *const *const c_char;
}

/// Takes the environment, which may be secret, out of the configuration that stands at a place among the arguments. The rest
/// stays for whoever reads it there, the relay among them. Only for the start of `main`, with all arguments.
pub fn hide_environment(args: &[OsString], place: usize) {
    let Some(told) = args.get(place).map(|arg| arg.as_bytes()) else { return };
    let shown = serde_json::from_slice(told)
        .and_then(|config: InitConfig| serde_json::to_vec(&InitConfig { env: Vec::new(), ..config }))
        .ok()
        .filter(|shown| shown.len() <= told.len())
        .unwrap_or_default();
    // SAFETY: on every Linux the arguments, a null and the environment stand in one row, nothing has changed the environment
    // yet, and there is one thread; what is written to is the argument, found to be the one that is meant, and no longer.
    unsafe {
        let argument = *environ.sub(1 + args.len() - place);
        if !argument.is_null() && CStr::from_ptr(argument).to_bytes() == told {
            let argument = argument.cast_mut().cast::<u8>();
            // In this order there is a whole text at any moment.
            argument.copy_from(shown.as_ptr(), shown.len());
            argument.add(shown.len()).write_bytes(0, told.len() - shown.len());
        }
    }
}
