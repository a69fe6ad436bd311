# Macros for the Makefile of an image, which includes this file at its end. IMAGES.md explains them.
#
# GNU make and BSD make both read it, so that it has nothing but what both understand; the work is done by the script beside
# it. Where the two differ, a line has a part for each: .PARSEDIR and .CURDIR are unknown to the one, functions to the other.

.DEFAULT_GOAL = image
.MAIN: image
.NOTPARALLEL:

JETPACK ?=
JETPACK_FLAGS ?=
PARENT_IMAGE ?=
BASE_ACI ?=
BUILD_DIR ?= .
BUILD_CP ?=
BUILD_VARS ?=
BUILD_ARGS ?=
BUILD_COMMAND ?=
BUILD_FLAGS ?=
PKG_INSTALL ?=
SIGNING_KEY ?=
ACI_FILE ?= image.aci
ACI_ID_FILE ?= $(ACI_FILE).id
FLAT_ACI_FILE ?= $(ACI_FILE:.aci=.flat.aci)
CLEAN_FILES ?=
TIDY_FILES ?=

JETPACK_SHAREDIR := $(.PARSEDIR)$(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
MAKEACI = sh "$(JETPACK_SHAREDIR)/makeaci.sh"

# What was said about this image, and is for the script to read: a value is one word here, and a list of the shell's there.
.settings = ACI_FILE ACI_ID_FILE FLAT_ACI_FILE PARENT_IMAGE BASE_ACI BUILD_DIR BUILD_CP BUILD_ARGS BUILD_COMMAND BUILD_FLAGS \
	PKG_INSTALL SIGNING_KEY
.commands = JETPACK JETPACK_FLAGS

# NAME=VALUE as words of the shell: the commands, the settings, and those of BUILD_VARS that are set.
.commands.bsd = ${.CURDIR:D${.commands:@.VAR.@${.VAR.}=${${.VAR.}:Q}@}}
.commands.gnu = $(foreach v,$(.commands),$(v)='$(subst ','\'',$($(v)))')
.settings.bsd = ${.CURDIR:D${.settings:@.VAR.@${.VAR.}=${${.VAR.}:Q}@}}
.settings.gnu = $(foreach v,$(.settings),$(v)='$(subst ','\'',$($(v)))')
.build.vars.bsd = ${.CURDIR:D${BUILD_VARS:@.VAR.@${${.VAR.}:D${.VAR.}=${${.VAR.}:Q}}@}}
.build.vars.gnu = $(foreach v,$(BUILD_VARS),$(if $(filter-out undefined,$(origin $(v))),$(v)='$(subst ','\'',$($(v)))'))

# Makes what is in another folder, with the same jetpack, but with nothing else that was said about this image.
MAKE_PARENT = env -u MAKEFLAGS -u MFLAGS -u ACI_FILE -u ACI_ID_FILE -u FLAT_ACI_FILE -u PARENT_IMAGE -u BASE_ACI \
	-u BUILD_DIR -u BUILD_CP -u BUILD_VARS -u BUILD_ARGS -u BUILD_COMMAND -u BUILD_FLAGS -u PKG_INSTALL -u CLEAN_FILES \
	-u TIDY_FILES $(.commands.bsd) $(.commands.gnu) $(MAKE)

.image = $(.commands.bsd) $(.commands.gnu) $(.settings.bsd) $(.settings.gnu) -- $(.build.vars.bsd) $(.build.vars.gnu)

image: prepare $(BASE_ACI)
	@sh "$(JETPACK_SHAREDIR)/jetpack.image.sh" image $(.image)

aci: prepare $(BASE_ACI)
	@sh "$(JETPACK_SHAREDIR)/jetpack.image.sh" aci $(.image)

flat-aci: prepare $(BASE_ACI)
	@sh "$(JETPACK_SHAREDIR)/jetpack.image.sh" flat-aci $(.image)

# For the Makefile to fill: `prepare` on the host, `build` (and manifest.json) in the pod, where make is the build command.
prepare:
build:

tidy: tidy-files
tidy-files:
	@rm -rf $(TIDY_FILES)

clean: tidy clean-files
clean-files:
	@rm -rf $(ACI_ID_FILE) $(ACI_ID_FILE).files $(ACI_FILE) $(ACI_FILE).asc $(FLAT_ACI_FILE) $(FLAT_ACI_FILE).asc \
		$(BASE_ACI) $(BASE_ACI:.aci=.aci.id) $(CLEAN_FILES)

.PHONY: image aci flat-aci prepare build tidy tidy-files clean clean-files
