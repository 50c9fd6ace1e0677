# Configures what was unpacked. Runs as root, first thing, in a virtual machine without a network.
set -eu
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true DEBCONF_NOWARNINGS=yes
export LC_ALL=C.UTF-8 HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd /

# Nothing is to be started here.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d

# Units are never started where the agent is the first process, so none is enabled: the helper is Perl, is called a
# dozen times, and takes most of a second each time where processors are emulated.
units=/usr/bin/deb-systemd-helper
if [ -e "$units" ]; then
	cp -p "$units" /run/deb-systemd-helper
	printf '#!/bin/sh\nexit 0\n' >"$units"
fi

# Two things take long, and nothing waits for them: compiling Python's library, and hashing the certificates, which the
# package's script would have done twice. They are done once, beside the rest; meanwhile the scripts find nothing to do.
# What runs on must not hold debconf's pipe, descriptor 3, or debconf waits for it.
compiler=$(echo /usr/lib/python3.*/py_compile.py)
compiling=
if [ -e "$compiler" ]; then
	library=${compiler%/*}
	cp -p "$compiler" /run/py_compile.py
	printf 'import sys\nif "-" in sys.argv:\n    sys.stdin.read()\n' >"$compiler"
	find "$library" /usr/lib/python3/dist-packages -name '*.py' -type f ! -path "$compiler" -print |
		xargs "/usr/bin/${library##*/}" -E -S /run/py_compile.py >/dev/null 2>&1 &
	compiling=$!
fi
certificates=/usr/sbin/update-ca-certificates
choices=/var/lib/dpkg/info/ca-certificates.config
if [ -e "$certificates" ]; then
	# apt would have run this one before it unpacked the package; where the files are not there yet, it takes a short way.
	cp -p "$choices" /run/choices
	sed 's,test -d /usr/share/ca-certificates,false,' /run/choices >"$choices"
	cp -p "$certificates" /run/update-ca-certificates
	cat >"$certificates" <<-'END'
		#!/bin/sh
		[ ! -e /run/hashing ] || exit 0
		touch /run/hashing
		(
			/run/update-ca-certificates
			echo "$?" >/run/hashed.new
			mv /run/hashed.new /run/hashed
		) >/run/hashing 2>&1 </dev/null 3>&- 4>&- &
	END
fi

# dpkg would have run these before it unpacked the package.
for package in $preinst; do
	DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_PACKAGE=${package%:*} DPKG_MAINTSCRIPT_PACKAGE_REFCOUNT=1 \
		"/var/lib/dpkg/info/$package.preinst" install
done

if [ -n "$configure" ]; then
	dpkg --force-depends --force-unsafe-io --configure $configure
fi
dpkg --force-depends --force-unsafe-io --configure --pending

if [ -n "$compiling" ]; then
	wait "$compiling" || true # a file that is not meant to compile is no failure for Debian either
	cp -p /run/py_compile.py "$compiler"
fi
if [ -e /run/hashing ]; then
	until [ -e /run/hashed ]; do sleep 0.1; done
	if [ "$(cat /run/hashed)" != 0 ]; then
		cat /run/hashing
		exit 1
	fi
fi
if [ -e "$units" ]; then
	cp -p /run/deb-systemd-helper "$units"
fi
if [ -e "$certificates" ]; then
	cp -p /run/update-ca-certificates "$certificates"
	cp -p /run/choices "$choices"
fi

broken=$(dpkg --audit)
if [ -n "$broken" ]; then
	echo "$broken"
	exit 1
fi

rm -rf /usr/sbin/policy-rc.d /var/lib/dpkg/*-old /var/cache/debconf/*-old /var/cache/ldconfig/* /var/cache/apt/*.bin
rm -rf /var/log/alternatives.log /var/log/dpkg.log /var/log/bootstrap.log /var/log/apt/* /tmp/* /var/tmp/*
