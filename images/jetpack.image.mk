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
ACI_FILE ?= image.aci
ACI_ID_FILE ?= $(ACI_FILE).id
FLAT_ACI_FILE ?= $(ACI_FILE:.aci=.flat.aci)
CLEAN_FILES ?=
TIDY_FILES ?=

JETPACK_SHAREDIR := $(.PARSEDIR)$(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
MAKEACI = sh $(JETPACK_SHAREDIR)/makeaci.sh

# Makes what is in another folder, with the same jetpack, but with nothing else that was said about this image.
MAKE_PARENT = MAKEFLAGS= MFLAGS= PARENT_IMAGE= BASE_ACI= BUILD_DIR= BUILD_CP= BUILD_VARS= BUILD_ARGS= BUILD_COMMAND= \
	BUILD_FLAGS= PKG_INSTALL= JETPACK='$(JETPACK)' JETPACK_FLAGS='$(JETPACK_FLAGS)' $(MAKE)

# BUILD_VARS as words of the shell, NAME=VALUE, without those that are not set.
.build.vars.bsd = ${.CURDIR:D${BUILD_VARS:@.VAR.@${${.VAR.}:D${.VAR.}=${${.VAR.}:Q}}@}}
.build.vars.gnu = $(foreach v,$(BUILD_VARS),$(if $(filter-out undefined,$(origin $(v))),$(v)='$(subst ','\'',$($(v)))'))

.image = :jetpack $(JETPACK) :flags $(JETPACK_FLAGS) :id $(ACI_ID_FILE) :aci $(ACI_FILE) :flat $(FLAT_ACI_FILE) \
	:base $(BASE_ACI) :parent $(PARENT_IMAGE) :directory $(BUILD_DIR) :cp $(BUILD_CP) :options $(BUILD_FLAGS) \
	:packages $(PKG_INSTALL) :variables $(.build.vars.bsd) $(.build.vars.gnu) :arguments $(BUILD_ARGS) \
	:command $(BUILD_COMMAND)

image: prepare $(BASE_ACI)
	@sh $(JETPACK_SHAREDIR)/jetpack.image.sh image $(.image)

aci: prepare $(BASE_ACI)
	@sh $(JETPACK_SHAREDIR)/jetpack.image.sh aci $(.image)

flat-aci: prepare $(BASE_ACI)
	@sh $(JETPACK_SHAREDIR)/jetpack.image.sh flat-aci $(.image)

# For the Makefile to fill: `prepare` on the host, `build` (and manifest.json) in the pod, where make is the build command.
prepare:
build:

tidy: tidy-files
tidy-files:
	@rm -rf $(TIDY_FILES)

clean: tidy clean-files
clean-files:
	@rm -rf $(ACI_ID_FILE) $(ACI_FILE) $(FLAT_ACI_FILE) $(BASE_ACI) $(BASE_ACI:.aci=.aci.id) $(CLEAN_FILES)

.PHONY: image aci flat-aci prepare build tidy tidy-files clean clean-files
