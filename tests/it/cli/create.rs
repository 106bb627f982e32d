//! `podspawn create`

use crate::harness::engines::fact;

on_engines! {
    [docker, docker26, podman, gvisor]
    fn a_machine_is_made_once_and_stays(env: Env) {
        let run = env.podspawn(["create", "dev"]).run().ok();
        assert_eq!(run.out(), "");
        assert_eq!(run.stderr, format!("✓ Creating dev ({})\n", env.image));
        assert_eq!(env.objects().len(), 2, "a container and its network: {:?}", env.objects());
        let before = env.objects();

        let again = env.podspawn(["create", "dev"]).run().ok();
        assert_eq!(again.stderr, format!("✓ dev is running already ({})\n", env.image));
        assert_eq!(env.objects(), before, "nothing new was made");

        let who = env.podspawn(["exec", "dev", "--", "sh", "-c", "id -un; hostname; pwd"]).run().ok();
        assert_eq!(who.out(), format!("{0}\ndev\n/home/{0}\n", env.user));

        let _ = env.podspawn(["stop", "dev"]).run().ok();
        assert_eq!(env.objects(), Vec::<String>::new());
    }
}

on_engines! {
    [docker, podman]
    fn a_name_that_is_taken_by_another_image_is_refused(env: Env) {
        let _ = env.podspawn(["create", "dev"]).run().ok();
        let before = env.objects();
        let run = env.podspawn(["create", "dev", "--image", fact("IMAGE_BUSYBOX")]).run().status(1);
        assert_eq!(
            run.stderr,
            format!(
                "Error: the machine `dev` exists with the image `{}`; nothing was changed\n\
                 hint: to have it made anew: podspawn rm dev --force\n",
                env.image
            )
        );
        assert_eq!(env.objects(), before);
    }
}

on_engines! {
    [docker, podman]
    fn two_commands_at_once_make_one_machine(env: Env) {
        let both: Vec<_> = (0..2).map(|_| env.podspawn(["create", "dev"]).start()).collect();
        for one in both {
            let _ = one.wait(std::time::Duration::from_secs(120)).ok();
        }
        assert_eq!(env.objects().len(), 2, "{:?}", env.objects());
        assert_eq!(env.podspawn(["list"]).run().ok().out().lines().count(), 2);
    }
}
