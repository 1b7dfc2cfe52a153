# Makes an archive of tiny packages in /srv/archive, the only one that apt knows here.
#   lib 1          needed by app
#   app 1, 2       with configuration; 1 is needed by plug
#   plug 1         needs app
#   served 1, 2    with a service that its scripts start and stop
#   reach 1        with a service that is named as one that the machine is reached through
#   bad 1          whose script fails
#   slow 1         whose script takes four seconds
#   sleepy 1       whose script takes long
set -e
rm -rf /srv/archive /tmp/build
mkdir -p /srv/archive

# package NAME VERSION [FIELD]: from /tmp/build, which it empties
package() {
    mkdir -p "/tmp/build/DEBIAN" "/tmp/build/usr/share/$1"
    printf '%s' "$2" >"/tmp/build/usr/share/$1/version"
    {
        printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: T <t@example.org>\n' "$1" "$2"
        printf 'Installed-Size: 10\n%b' "${3:+$3\\n}"
        printf 'Description: %s\n' "$1"
    } >/tmp/build/DEBIAN/control
    dpkg-deb --root-owner-group --build /tmp/build /srv/archive >/dev/null
    rm -rf /tmp/build
}

# script NAME LINES
script() {
    mkdir -p /tmp/build/DEBIAN
    printf '#!/bin/sh\nset -e\n%b\n' "$2" >"/tmp/build/DEBIAN/$1"
    chmod 755 "/tmp/build/DEBIAN/$1"
}

package lib 1
for version in 1 2; do
    mkdir -p /tmp/build/DEBIAN /tmp/build/etc/app.d
    printf 'setting = %s\n' "$version" >/tmp/build/etc/app.d/app.conf
    printf '/etc/app.d/app.conf\n' >/tmp/build/DEBIAN/conffiles
    package app "$version" 'Depends: lib'
    mkdir -p /tmp/build/usr/lib/systemd/system
    printf '[Unit]\nDescription=Served %s\n[Service]\nExecStart=/bin/sleep infinity\n' "$version" \
        >/tmp/build/usr/lib/systemd/system/served.service
    script postinst 'systemctl daemon-reload\nsystemctl restart served.service'
    script prerm 'systemctl stop served.service'
    package served "$version"
done
package plug 1 'Depends: app'
mkdir -p /tmp/build/usr/lib/systemd/system
printf '[Service]\nExecStart=/bin/sleep infinity\n' >/tmp/build/usr/lib/systemd/system/ssh-like.service
package reach 1
script postinst 'echo the cheese is off\nexit 7'
package bad 1
script postinst 'touch /run/begun\nsleep 4'
package slow 1
script postinst 'touch /run/begun\nsleep 100'
package sleepy 1

cd /srv/archive
for file in *.deb; do
    dpkg-deb --field "$file"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$file" "$(stat --format=%s "$file")" "$(sha256sum "$file" | cut -d' ' -f1)"
done >Packages
rm -rf /etc/apt/sources.list.d
printf 'deb [trusted=yes] file:/srv/archive ./\n' >/etc/apt/sources.list
apt-get --quiet update
