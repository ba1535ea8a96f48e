#!/usr/bin/env bash
# Makes the example recordings: synthesised speech (espeak-ng) with pitch, rate and loudness varied. Needs espeak-ng and sox.
set -euo pipefail
cd "$(dirname "$0")/recordings"
say() {  # file, espeak options, text; 16 kHz mono FLAC
  espeak-ng --stdout "${@:2}" | sox -t wav - -r 16000 -c 1 -b 16 "$1"
}
say calm-low.flac -v en-us -p 25 -s 120 -a 60 "The train leaves at nine, from platform four."
say loud-high.flac -v en-us -p 85 -s 190 -a 200 "I can't believe it! They really are coming tonight!"
say slow-quiet.flac -v en-gb -p 15 -s 90 -a 40 "Nobody called. I waited the whole day."
say fast-shout.flac -v en-us -p 60 -s 260 -a 200 "Stop that! I told you three times already!"
say german-plain.flac -v de -p 45 -s 150 -a 100 "Der Bericht liegt auf dem Tisch."
say "polish name ż.flac" -v pl -p 50 -s 160 -a 120 "Dzień dobry, jak się masz?"
# a longer one: two moods after one another, so that the answer has several windows
espeak-ng --stdout -v en-us -p 20 -s 110 -a 50 "It has been raining for days, and nothing happens here." > /tmp/a.$$.wav
espeak-ng --stdout -v en-us -p 90 -s 210 -a 200 "Wait, look outside! The sun! Come on, let's go, right now!" > /tmp/b.$$.wav
sox /tmp/a.$$.wav /tmp/b.$$.wav -r 16000 -c 1 -b 16 two-moods.flac
rm /tmp/a.$$.wav /tmp/b.$$.wav
