#!/bin/sh
# sh runner-image/build-ami.sh REPOSITORY COMMIT SUBNET SECURITY_GROUP
#
# Makes an AMI of which hosts join in seconds: Debian 13, this project at COMMIT in /opt/architect, and
# the packages that a host needs. Prints its id, and nothing else, on standard output. Wants the aws
# command, and credentials and a region in the environment; the subnet has to reach the Internet.
#
# A builder instance sets itself up, says so on its console, and powers off. Whatever happens, it is
# ended: also when this is interrupted.
set -eu

# https://wiki.debian.org/Cloud/AmazonEC2Image
debian_account=136693071363
builder_type=${BUILDER_TYPE:-m7i.large}
disk_gib=20
looks=${LOOKS:-60}
look_every=${LOOK_EVERY:-15}
mark=architect-ami-is-ready

say() { printf 'ami: %s\n' "$*" >&2; }
give_up() {
	say "$*"
	exit 1
}

[ $# -eq 4 ] || give_up "Usage: sh runner-image/build-ami.sh REPOSITORY COMMIT SUBNET SECURITY_GROUP"
repository=$1 commit=$2 subnet=$3 group=$4
printf '%s' "$repository" | grep -Eq '^https://[A-Za-z0-9._/-]+$' || give_up "REPOSITORY wants an https:// URL."
printf '%s' "$commit" | grep -Eq '^[0-9a-f]{40}$' || give_up "COMMIT wants 40 hexadecimal digits."
command -v aws >/dev/null || give_up "The aws command is missing: install awscli, then run this again."

folder=$(mktemp -d)
builder=
clean_up() {
	rm -rf "$folder"
	[ -z "$builder" ] || aws ec2 terminate-instances --instance-ids "$builder" >/dev/null || say "END BY HAND: $builder"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM

cat >"$folder/user-data" <<EOF
#!/bin/sh
prepare() {
	set -eu
	export DEBIAN_FRONTEND=noninteractive HOME=/root
	apt-get -q update
	apt-get -qy install git npm curl
	git clone -q '$repository' /opt/architect
	git -C /opt/architect checkout -q $commit
	cd /opt/architect
	sh runner-image/with-setup.sh --no-image true
	apt-get clean
	rm -f /etc/ssh/ssh_host_*
	cloud-init clean --logs --machine-id
	sync
}
if (prepare) >/var/log/architect-ami.log 2>&1; then echo $mark >/dev/console; else tail -20 /var/log/architect-ami.log >/dev/console; fi
poweroff
EOF

base=$(aws ec2 describe-images --owners "$debian_account" \
	--filters 'Name=name,Values=debian-13-amd64-*' Name=state,Values=available \
	--query 'sort_by(Images, &CreationDate)[-1].ImageId' --output text)
say "preparing $commit on $base"
builder=$(aws ec2 run-instances --image-id "$base" --instance-type "$builder_type" \
	--subnet-id "$subnet" --security-group-ids "$group" --user-data "file://$folder/user-data" \
	--instance-initiated-shutdown-behavior stop \
	--metadata-options HttpTokens=required,HttpPutResponseHopLimit=1 \
	--block-device-mappings "DeviceName=/dev/xvda,Ebs={VolumeSize=$disk_gib,VolumeType=gp3,Encrypted=true}" \
	--tag-specifications 'ResourceType=instance,Tags=[{Key=Name,Value=architect-ami-builder}]' \
	--query 'Instances[0].InstanceId' --output text)
say "builder $builder; it takes some minutes"

# await WHAT WANTED COMMAND…: until the command prints what is wanted.
await() {
	what=$1 wanted=$2
	shift 2
	look=0
	while [ "$look" -lt "$looks" ]; do
		case $("$@") in *"$wanted"*) return ;; esac
		look=$((look + 1))
		sleep "$look_every"
	done
	give_up "$what did not come about. Its console: aws ec2 get-console-output --instance-id $builder --latest --output text"
}

await "The builder's end" stopped aws ec2 describe-instances --instance-ids "$builder" \
	--query 'Reservations[0].Instances[0].State.Name' --output text
looks=8
await "A word of success" "$mark" aws ec2 get-console-output --instance-id "$builder" --latest --output text
looks=${LOOKS:-60}
image=$(aws ec2 create-image --instance-id "$builder" --name "architect-$(printf %.12s "$commit")-$(date -u +%Y%m%d%H%M%S)" \
	--description "Host of an Architect fleet, $commit" --query ImageId --output text)
await "The image" available aws ec2 describe-images --image-ids "$image" --query 'Images[0].State' --output text
printf '%s\n' "$image"
