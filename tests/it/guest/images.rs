//! Images that lack what one expects, or have what one does not.

use super::{answer, create, create_from, inside, shell};
use crate::harness::engines::fact;

on_engines! {
    [docker, podman; soak: gvisor]
    fn an_image_of_busybox_alone_is_enough(env: Env) {
        create_from(&env, fact("IMAGE_BUSYBOX"));
        let who = inside(&env, "id -u; id -un; pwd; test -O . && echo mine; sudo -n id -u; /usr/bin/sudo id -un").ok().out();
        assert_eq!(who, format!("1000\n{name}\n/home/{name}\nmine\n0\nroot\n", name = env.user));
        let mut terminal = shell(&env);
        let tty = answer(&mut terminal, "tty");
        assert!(tty.trim().starts_with("/dev/pts/"), "{tty}");
        terminal.line("exit 3");
        assert_eq!(terminal.wait().0, 3);
    }

    [docker, podman, gvisor]
    fn the_user_id_is_freed_from_another_account(env: Env) {
        create_from(&env, fact("IMAGE_UID1000"));
        let who = inside(&env, "id -u; id -un; touch file && find file . -maxdepth 0 -printf '%u %U %G\\n'; sudo -n id -u").ok().out();
        let name = &env.user;
        assert_eq!(who, format!("1000\n{name}\n{name} 1000 1000\n{name} 1000 1000\n0\n"));
        assert_eq!(inside(&env, "grep -c resident /etc/passwd").status(1).out(), "0\n");
    }

    [docker; soak: podman]
    fn a_read_only_root_has_a_user_a_home_and_sudo(env: Env) {
        env.write_config(&format!("local:\n  image: {}\nsecurity:\n  readonly_rootfs: true\n", env.image));
        create(&env);
        let _ = inside(&env, "sudo touch /usr/f").status(1);
        let script = "id -un; touch ~/f /tmp/f && echo written; sudo -n id -u; /usr/bin/sudo id -un; stat -c %u ~";
        assert_eq!(inside(&env, script).ok().out(), format!("{}\nwritten\n0\nroot\n1000\n", env.user));
        let mut terminal = shell(&env);
        assert_eq!(answer(&mut terminal, "id -u").trim(), "1000");
    }
}
